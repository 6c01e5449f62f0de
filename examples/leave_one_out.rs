//! Classifies each row of a table by all other rows, as Hopular does (Schäfl et al. 2022), without any training: keys
//! are standardised features, values the classes as unit vectors, and each query leaves itself out.
//!
//! `RetrieveOptions::exclude` takes one pattern for each query, so that a table of N rows is one memory and one call.
//! Euclidean similarity, softmax, beta 1. The accuracies are those of numpy in double precision.
//!
//! ```sh
//! cargo run --release --example leave_one_out -- [--device cpu|vulkan|gl] [--software] [--quick]
//! ```
//!
//! The tables are those of `examples/data/`.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use attractor::{Device, MemoryOptions, PatternId, Patterns, RetrieveOptions, Rule, Separation, Similarity};
use common::Result;
use common::family::{Figures, Options};
use flate2::read::GzDecoder;

/// Tables, and how many of their rows numpy classifies rightly, of how many.
const TABLES: [(&str, usize, usize); 3] = [("breast_cancer", 550, 569), ("wine", 171, 178), ("digits", 1750, 1797)];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    for (name, right, of) in TABLES {
        let table = Table::load(name).map_err(|why| format!("{name}: {why}"))?;
        let expected = right as f64 / of as f64;
        let figure = format!("{name}, {of} rows: right without themselves");
        figures.row(&figure, expected, 1e-9, table.leave_one_out(&options.device)?);
    }
    figures.conclude()
}

/// Standardised features and classes.
struct Table {
    features: usize,
    rows: Vec<f32>,
    classes: Vec<usize>,
}

impl Table {
    fn load(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/data/{name}.csv.gz"));
        let mut text = String::new();
        GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
        let (mut rows, mut classes) = (Vec::<f64>::new(), Vec::new());
        for line in text.lines() {
            let (class, features) = line.split_once(',').ok_or("a line without a comma")?;
            classes.push(class.parse()?);
            for feature in features.split(',') {
                rows.push(feature.parse()?);
            }
        }
        let features = rows.len() / classes.len().max(1);
        if features * classes.len() != rows.len() || rows.is_empty() {
            return Err("lines of several lengths".into());
        }
        standardise(&mut rows, features);
        Ok(Self { features, rows: rows.into_iter().map(|x| x as f32).collect(), classes })
    }

    /// The share of rows whose class has most of the weight of the others.
    fn leave_one_out(&self, device: &Device) -> Result<f64> {
        let count = self.classes.len();
        let classes = self.classes.iter().max().map_or(0, |class| class + 1);
        let mut values = vec![0.0; count * classes];
        for (row, class) in self.classes.iter().enumerate() {
            values[row * classes + class] = 1.0;
        }
        let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, 1.0);
        let mut memory = MemoryOptions::new(self.features, rule).value_dim(classes).build(device)?;
        let ids: Vec<Option<PatternId>> =
            memory.add(Patterns::new(&self.rows).values(&values))?.iter().map(Some).collect();
        let got = memory.retrieve_blocking(&self.rows, &RetrieveOptions::default().exclude(&ids))?;
        let right = (0..count).filter(|row| largest(got.output_row(*row)) == self.classes[*row]).count();
        Ok(right as f64 / count as f64)
    }
}

/// Each column less its mean, over its deviation; a column that does not vary becomes 0.
fn standardise(rows: &mut [f64], features: usize) {
    let count = (rows.len() / features) as f64;
    for feature in 0..features {
        let column = || rows.iter().skip(feature).step_by(features);
        let mean = column().sum::<f64>() / count;
        let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        for x in rows.iter_mut().skip(feature).step_by(features) {
            *x = (*x - mean) / deviation;
        }
    }
}

/// The place of the largest number, the first of equal ones.
fn largest(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (place, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = place;
        }
    }
    best
}

#[test]
fn quick_form() {
    common::family::test(run);
}
