//! Searches 12,000 software packages by half of the words of a description: real sentence embeddings (MiniLM, 384
//! dimensions) under cosine similarity.
//!
//! The best match of every query is compared with an exact search by plain `f64` loops, for stores of every precision
//! that the device has; then a few queries show which packages a sparse rule (entmax 1.5) spreads its weight over.
//!
//! ```sh
//! cargo run --release --example packages -- [--device cpu|vulkan|gl] [--software] [--folder FOLDER]
//! ```
//!
//! `FOLDER` (or `ATTRACTOR_PACKAGES`) holds `packages-minilm384.safetensors`, `packages.tsv` and `queries.tsv`; the
//! project does not carry them.

mod common;

use std::path::Path;
use std::process::ExitCode;

use attractor::retrieval::Statistics;
use attractor::{Device, Memory, MemoryOptions, PatternId, Precision, RetrieveOptions, Rule, Separation, Similarity};
use common::{Arguments, Result};
use half::f16;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// Right answers of exact search, in percent.
const EXACT: f64 = 58.8;
/// How far the right answers of a store may be from those of exact search, in percent.
const TOLERANCE: f64 = 0.5;
/// A pattern can have weight under entmax 1.5 where its score is within `2 / beta` of the best: a cosine within 0.1.
const BETA: f32 = 20.0;
/// Queries that are printed: one with a clear answer, and three with several packages that come near.
const SHOWN: [usize; 4] = [0, 2, 3, 5];
/// The most packages that are printed for one query.
const LISTED: usize = 8;

fn main() -> ExitCode {
    common::run(|| {
        let arguments = Arguments::read("--folder", "ATTRACTOR_PACKAGES")?;
        let folder = arguments.data.unwrap_or_else(|| common::shared("data/packages"));
        let vectors = folder.join("packages-minilm384.safetensors");
        if !vectors.is_file() {
            println!("SKIP: {} is not there (--folder FOLDER, or ATTRACTOR_PACKAGES)", vectors.display());
            return Ok(());
        }
        let packages = Packages::load(&vectors).map_err(|why| format!("{}: {why}", vectors.display()))?;
        search(&arguments.device, &packages)?;
        show(&arguments.device, &packages, &folder)
    })
}

/// Embeddings of descriptions and of queries, and which description each query was made from.
struct Packages {
    dim: usize,
    keys: Vec<f32>,
    queries: Vec<f32>,
    answers: Vec<u32>,
}

impl Packages {
    fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let halves = |name: &str| -> Result<(Vec<f32>, usize)> {
            let tensor = file.tensor(name)?;
            let (Dtype::F16, [_, columns]) = (tensor.dtype(), tensor.shape()) else {
                return Err(format!("{name} is {:?} {:?}, expected F16 rows", tensor.dtype(), tensor.shape()).into());
            };
            let halves = tensor.data().as_chunks::<2>().0.iter();
            Ok((halves.map(|half| f16::from_le_bytes(*half).to_f32()).collect(), *columns))
        };
        let ((keys, dim), (queries, query_dim)) = (halves("keys")?, halves("queries")?);
        let answers = file.tensor("answers")?;
        if answers.dtype() != Dtype::U32 || query_dim != dim || answers.shape() != [queries.len() / dim] {
            return Err(format!(
                "answers are {:?} {:?}, queries {query_dim} wide, keys {dim}",
                answers.dtype(),
                answers.shape()
            )
            .into());
        }
        let answers = answers.data().as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Self { dim, keys, queries, answers })
    }

    /// The key of largest cosine for every query, by plain loops; ties keep the smaller index.
    fn exact(&self) -> Vec<u32> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let norms: Vec<f64> = self.keys.chunks_exact(self.dim).map(|key| dot(key, key).sqrt()).collect();
        let best = |query: &[f32]| {
            let mut best = (f64::NEG_INFINITY, 0);
            for (i, key) in self.keys.chunks_exact(self.dim).enumerate() {
                let score = dot(query, key) / norms[i];
                if score > best.0 {
                    best = (score, i as u32);
                }
            }
            best.1
        };
        self.queries.par_chunks_exact(self.dim).map(best).collect()
    }

    /// The share of right answers in percent.
    fn right(&self, found: &[u32]) -> f64 {
        let right = found.iter().zip(&self.answers).filter(|(found, answer)| found == answer).count();
        100.0 * right as f64 / self.answers.len() as f64
    }

    fn store(&self, device: &Device, rule: Rule, precision: Precision) -> Result<Memory> {
        let mut memory = MemoryOptions::new(self.dim, rule).precision(precision).build(device)?;
        memory.add(&self.keys)?;
        Ok(memory)
    }
}

/// The best match of every query, at every precision, beside exact search.
fn search(device: &Device, packages: &Packages) -> Result<()> {
    let exact = packages.exact();
    let exact_right = packages.right(&exact);
    let count = exact.len();
    println!("{count} queries of {} packages", packages.keys.len() / packages.dim);
    println!("{:<14} {:>7} {:>15}", "search", "right", "same as exact");
    println!("{:<14} {exact_right:>5.1} % {count:>15}", "exact, f64");
    let mut failures = Vec::new();
    if (exact_right - EXACT).abs() > 0.05 {
        failures.push(format!("exact search is right for {exact_right} %, expected {EXACT} %"));
    }
    let rule = Rule::new(Similarity::Cosine, Separation::TopK { k: 1 }, 1.0);
    for precision in Precision::ALL {
        let memory = packages.store(device, rule, precision)?;
        let got = memory.retrieve_blocking(&packages.queries, &RetrieveOptions::steps(1).top(1))?;
        let found = rows(&got.top.ok_or("no top patterns came back")?.ids);
        let right = packages.right(&found);
        let same = found.iter().zip(&exact).filter(|(found, exact)| found == exact).count();
        println!("{:<14} {right:>5.1} % {same:>15}", format!("{precision:?} store").to_lowercase());
        if matches!(precision, Precision::F32 | Precision::I8Exact) && same < count {
            failures.push(format!(
                "{} of the answers of the {precision} store are not those of exact search",
                count - same
            ));
        }
        if (right - exact_right).abs() > TOLERANCE {
            failures.push(format!("the {precision:?} store is right for {right} %, exact search for {exact_right} %"));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// The lines of the packages of these ids: they were stored in the order of their lines.
fn rows(ids: &[Option<PatternId>]) -> Vec<u32> {
    ids.iter().map(|id| id.map_or(u32::MAX, |id| id.0 as u32)).collect()
}

/// What a sparse rule has in its support for a few queries.
fn show(device: &Device, packages: &Packages, folder: &Path) -> Result<()> {
    let names = lines(&folder.join("packages.tsv"))?;
    let texts = lines(&folder.join("queries.tsv"))?;
    let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, BETA);
    let memory = packages.store(device, rule, Precision::F32)?;
    let queries: Vec<f32> = SHOWN
        .iter()
        .flat_map(|&q| packages.queries[q * packages.dim..(q + 1) * packages.dim].iter().copied())
        .collect();
    let options = RetrieveOptions::steps(1).top(LISTED).statistics();
    let got = memory.retrieve_blocking(&queries, &options)?;
    let (Some(top), Some(statistics)) = (got.top, got.statistics) else {
        return Err("no report came back".into());
    };
    println!("\nWhat entmax 1.5 recalls at beta = {BETA} (* is the package that the query was made from):");
    for (row, q) in SHOWN.into_iter().enumerate() {
        let text = texts.get(q).map_or("", |(_, text)| text);
        let Statistics { support, perplexity, .. } = statistics[row];
        println!("\n\"{text}\": support {support}, perplexity {perplexity:.1}");
        let found = rows(&top.ids);
        let places = row * top.k..(row + 1) * top.k;
        for (index, weight) in found[places.clone()].iter().zip(&top.weight[places]) {
            if *weight > 0.0 {
                let mark = if *index == packages.answers[q] { "*" } else { " " };
                let (name, description) = names.get(*index as usize).ok_or("packages.tsv is too short")?;
                println!("  {mark} {weight:.3}  {name}: {description}");
            }
        }
        if support as usize > top.k {
            println!("    and {} more", support as usize - top.k);
        }
    }
    Ok(())
}

/// Lines of two columns.
fn lines(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let split = |line: &str| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.lines()
        .map(|line| split(line).ok_or_else(|| format!("{}: a line has no tab", path.display()).into()))
        .collect()
}
