//! What the examples of the wider family have in common: their command line, published figures beside measured ones,
//! bipolar patterns, and the look of their plots.

use std::path::PathBuf;
use std::process::ExitCode;

use attractor::Device;
use harness::Rng;
use plotters::prelude::*;

use super::{AskedDevice, Result, run};

/// The command line of an example of the wider family.
#[derive(Debug)]
pub struct Options {
    pub device: Device,
    /// A smaller form, for tests.
    pub quick: bool,
    /// Where pictures go.
    pub out: PathBuf,
}

impl Options {
    /// Reads `--device`, `--software`, `--quick` and `--out`.
    pub fn read() -> Result<Self> {
        let mut asked = AskedDevice::cpu();
        let (mut quick, mut out) = (false, PathBuf::from("target/pictures"));
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if asked.takes(&argument, &mut arguments)? {
                continue;
            }
            match argument.as_str() {
                "--quick" => quick = true,
                "--out" => out = arguments.next().ok_or("--out takes a folder")?.into(),
                other => {
                    let expected = "expected --device NAME, --software, --quick or --out FOLDER";
                    return Err(format!("{other}: {expected}").into());
                }
            }
        }
        let device = asked.open()?;
        println!("on {}", device.info());
        Ok(Self { device, quick, out })
    }

    /// The small form on the CPU engine, with pictures in `out`.
    pub fn quick(out: PathBuf) -> Self {
        Self { device: Device::cpu(), quick: true, out }
    }

    /// `full`, or `quick` in the small form.
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// The path of a picture, whose folder is there.
    pub fn picture(&self, name: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.out)?;
        Ok(self.out.join(name))
    }
}

/// Runs an example: exit status 0 on success, 1 where a figure is outside its tolerance or something fails.
pub fn main(example: impl FnOnce(&Options) -> Result<()>) -> ExitCode {
    run(|| example(&Options::read()?))
}

/// The small form of an example, in a test.
pub fn test(example: impl FnOnce(&Options) -> Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let result = example(&Options::quick(folder.path().to_owned()));
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// Published figures beside measured ones: a table that is printed row by row.
#[derive(Debug, Default)]
pub struct Figures {
    outside: Vec<String>,
    judged: usize,
}

impl Figures {
    /// Prints the head of the table.
    pub fn new() -> Self {
        println!("{:<52} {:>9} {:>9} {:>9}", "figure", "expected", "tolerance", "measured");
        Self::default()
    }

    /// Prints and judges one figure.
    pub fn row(&mut self, figure: &str, expected: f64, tolerance: f64, measured: f64) {
        self.judge(figure, expected, tolerance, measured, (measured - expected).abs() <= tolerance);
    }

    /// Prints and judges a figure that has to be the expected one or less.
    pub fn at_most(&mut self, figure: &str, expected: f64, measured: f64) {
        self.judge(figure, expected, 0.0, measured, measured <= expected);
    }

    fn judge(&mut self, figure: &str, expected: f64, tolerance: f64, measured: f64, within: bool) {
        let verdict = if within { "within" } else { "OUTSIDE" };
        println!("{figure:<52} {expected:>9.4} {tolerance:>9.4} {measured:>9.4}  {verdict}");
        self.judged += 1;
        if !within {
            self.outside.push(figure.to_owned());
        }
    }

    /// Prints a figure that is not judged, and why.
    pub fn shown(figure: &str, expected: Option<f64>, measured: f64, why: &str) {
        let expected = expected.map_or("-".into(), |expected| format!("{expected:.4}"));
        println!("{figure:<52} {expected:>9} {:>9} {measured:>9.4}  {why}", "-");
    }

    /// Fails where a figure was outside.
    pub fn conclude(self) -> Result<()> {
        match self.outside.is_empty() {
            true => {
                println!("All {} figures are within their tolerances.", self.judged);
                Ok(())
            }
            false => Err(format!("outside their tolerances: {}", self.outside.join("; ")).into()),
        }
    }
}

/// `length` coordinates, each 1 or -1.
pub fn bipolar(rng: &mut Rng, length: usize) -> Vec<f32> {
    (0..length).map(|_| if rng.bits() >> 63 == 0 { 1.0 } else { -1.0 }).collect()
}

/// Flips each coordinate with this probability.
pub fn flip(rng: &mut Rng, row: &mut [f32], probability: f32) {
    for x in row {
        if rng.uniform() < probability {
            *x = -*x;
        }
    }
}

/// `sum_c a_c b_c / d`.
pub fn overlap(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / a.len() as f64
}

/// The mean overlap of the rows of `a` with the same rows of `b`.
pub fn mean_overlap(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let rows = a.chunks_exact(dim).zip(b.chunks_exact(dim));
    mean(rows.map(|(a, b)| overlap(a, b)))
}

/// The mean.
pub fn mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.into_iter().fold((0.0, 0usize), |(sum, count), x| (sum + x, count + 1));
    sum / count.max(1) as f64
}

/// Colours that are told apart by everyone (Okabe and Ito 2008).
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The colour of text.
pub const INK: RGBColor = RGBColor(40, 40, 40);

/// Text of a plot.
pub fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}
