//! `attractor recall`: store images, damage them, recall them, check every answer, show it.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use attractor::reference::Problem;
use attractor::{Device, DeviceOptions, Memory, RetrieveOptions, Rule, Software};
use rayon::prelude::*;

use crate::args::{DeviceArgs, Place, at_least_one, finite, fraction};
use crate::damage::{Damage, Kind};
use crate::digits::Images;
use crate::failure::{Failure, emit};
use crate::judge::{self, Expected, Verdict};
use crate::picture;
use crate::table;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Pixels run from -1 (black) to 1 (white); hidden pixels are 0. Query i is image i, damaged. It counts as recalled when \
the cosine of the answer with the whole image is above 0.9; `nearest` is the share of answers for which no stored image \
is nearer than the right one.

Every answer y is held against a reference in f64. The largest error of a coordinate may be at most, with weights p, \
scores z, eps = 2 u = 2^-23 and m_j = sum_i p_i |k_ij|:

    2 sum_i p_i r_i |k_ij - y_j|  +  sum_i min(p_i |k_ij|, u m_j)  +  m_j sum_i min(p_i, u)  +  8 eps m_j
    r_i = eps (2 sqrt(d) |beta| |x| |k_i| + 8 + 3 |z_i - max z|)

at the worst j, and after the first step also |beta| L times what the step before may have been off, where L is twice the \
largest eigenvalue of the covariance of the keys under p. The table shows the answer that uses most of its bound. One \
that exceeds it makes the exit status 1.";

/// The cosine above which an image counts as recalled.
const RECALLED: f32 = 0.9;

/// The flags of `attractor recall`.
#[derive(clap::Args, Debug)]
pub struct RecallArgs {
    /// Images in IDX format, plain or gzip'd [default: 1,000 MNIST digits that come with the program].
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// How the images are damaged.
    #[arg(long, value_enum, default_value = "lower-half")]
    damage: Kind,
    /// How much, 0 to 1, where the damage has a level.
    #[arg(long, value_name = "LEVEL", value_parser = fraction, allow_negative_numbers = true)]
    level: Option<f32>,
    /// The seed of random damage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many images to store [default: 1000, or all where there are fewer].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    patterns: Option<usize>,
    /// How many of them to damage and recall [default: all that are stored].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    queries: Option<usize>,
    /// The inverse temperature.
    #[arg(long, default_value = "1", value_parser = finite, allow_negative_numbers = true)]
    beta: f32,
    /// The number of updates.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// The picture to write.
    #[arg(long, value_name = "PNG", default_value = "recall.png")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What is asked of every device.
struct Job {
    images: Images,
    damage: Damage,
    /// The damaged images, a row each.
    queries: Vec<f32>,
    rule: Rule,
    steps: u32,
    expected: Vec<Expected>,
}

/// What one device made of it.
struct Outcome {
    device: Device,
    output: Vec<f32>,
    /// Whether each query brought its image back.
    found: Vec<bool>,
    /// The share of answers to which no stored image is nearer than the right one.
    nearest: f64,
    verdict: Verdict,
    wrong: usize,
    store: Duration,
    batch: Duration,
    alone: Duration,
}

/// Runs the job on the device asked for, and on a software adapter where nothing else would run the shaders.
pub fn run(args: &RecallArgs) -> Result<(), Failure> {
    let damage = Damage::new(args.damage, args.level, args.seed).map_err(Failure::Usage)?;
    if let (Some(queries), Some(patterns)) = (args.queries, args.patterns)
        && queries > patterns
    {
        return Err(Failure::Usage(format!("--queries {queries} is more than --patterns {patterns}")));
    }
    crate::files::check_target(&args.output)?;
    let images = match &args.images {
        Some(path) => Images::open(path, args.patterns)?,
        None => Images::built_in(args.patterns)?,
    };
    let count = args.queries.unwrap_or(images.len());
    if count > images.len() {
        return Err(Failure::Usage(format!("--queries {count} is more than the {} images stored", images.len())));
    }
    let device = args.device.open()?;
    let (devices, note) = with_software(device, &args.device);

    let dim = images.dim();
    let spoil = |(i, image)| damage.apply(i, image, images.height, images.width);
    let queries: Vec<f32> = images.pixels.chunks_exact(dim).take(count).enumerate().flat_map(spoil).collect();
    let rule = Rule::softmax(args.beta);
    let expected = judge::expect(&Problem::new(rule, dim, &images.pixels), &queries, args.steps);
    let job = Job { images, damage, queries, rule, steps: args.steps, expected };

    let outcomes = devices.into_iter().map(|device| job.run(device)).collect::<Result<Vec<_>, Failure>>()?;
    let mut text = job.table(&outcomes);
    if let Some(first) = outcomes.first() {
        let rows =
            picture::Rows { stored: &job.images, damaged: &job.queries, recalled: &first.output, found: &first.found };
        picture::write(&args.output, &rows)?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\nwrote {}: rows of stored, damaged and recalled images, by {}",
            args.output.display(),
            first.device.info()
        );
    }
    text.extend(note.map(|note| note + "\n"));
    emit(&text)?;

    let wrong: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.wrong > 0)
        .map(|o| format!("{} of {} answers of {} exceed their bound", o.wrong, job.expected.len() + 1, o.device.info()))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Work(format!("the reference disagrees: {}", wrong.join("; ")))) }
}

/// Adds a software adapter where `auto` found no GPU, and says why where there is none: the shaders should run wherever
/// they can.
fn with_software(device: Device, args: &DeviceArgs) -> (Vec<Device>, Option<String>) {
    if args.device != Place::Auto || args.software || !device.is_cpu() {
        return (vec![device], None);
    }
    let options = DeviceOptions { software: Software::Require, ..DeviceOptions::default() };
    match pollster::block_on(Device::with_options(&options)) {
        Ok(software) => (vec![device, software], None),
        Err(attractor::Error::NoAdapter { .. }) => {
            let note = "no GPU and no software adapter here, so no shader ran (Debian and Ubuntu have one in \
                        mesa-vulkan-drivers)";
            (vec![device], Some(note.into()))
        }
        Err(error) => (vec![device], Some(format!("the software adapter does not open: {error}"))),
    }
}

impl Job {
    fn run(&self, device: Device) -> Result<Outcome, Failure> {
        let dim = self.images.dim();
        let options = RetrieveOptions::steps(self.steps);
        let start = Instant::now();
        let mut memory = Memory::new(&device, dim, self.rule)?;
        memory.add(&self.images.pixels)?;
        let store = start.elapsed();

        // Each is asked twice: the first time compiles the kernels. A query alone takes another path than a batch, so its
        // answer is checked like the rest.
        let timed = |queries: &[f32]| {
            memory.retrieve_with_blocking(queries, &options)?;
            let start = Instant::now();
            let answer = memory.retrieve_with_blocking(queries, &options)?;
            Ok::<_, attractor::Error>((answer.output, start.elapsed()))
        };
        let (output, batch) = timed(&self.queries)?;
        let (lone, alone) = timed(&self.queries[..dim])?;

        let verdicts: Vec<Verdict> = output
            .chunks_exact(dim)
            .chain([&lone[..]])
            .zip(self.expected.iter().chain(&self.expected[..1]))
            .map(|(answer, expected)| expected.judge(answer))
            .collect();
        let wrong = verdicts.iter().filter(|verdict| !verdict.agrees()).count();
        let verdict = verdicts.into_iter().reduce(Verdict::worse).unwrap_or_default();
        let answers = || output.chunks_exact(dim).zip(self.images.pixels.chunks_exact(dim));
        let found = answers().map(|(answer, image)| cosine(answer, image) > RECALLED).collect();
        let nearest = self.nearest(&output);
        Ok(Outcome { device, output, found, nearest, verdict, wrong, store, batch, alone })
    }

    fn nearest(&self, output: &[f32]) -> f64 {
        let dim = self.images.dim();
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let right = output
            .par_chunks_exact(dim)
            .zip(self.images.pixels.par_chunks_exact(dim))
            .filter(|(answer, image)| {
                let own = distance(answer, image);
                self.images.pixels.chunks_exact(dim).all(|other| distance(answer, other) >= own)
            })
            .count();
        right as f64 / self.expected.len() as f64
    }

    fn table(&self, outcomes: &[Outcome]) -> String {
        let header = [
            "device",
            "patterns",
            "damage",
            "rule",
            "recalled",
            "nearest",
            "worst error",
            "bound",
            "store",
            "a query",
            "alone",
        ];
        let count = self.expected.len();
        let steps = if self.steps == 1 { "1 step".into() } else { format!("{} steps", self.steps) };
        let rows: Vec<Vec<String>> = outcomes
            .iter()
            .map(|o| {
                let recalled = o.found.iter().filter(|&&found| found).count();
                vec![
                    o.device.info().to_string(),
                    format!("{} x {}", self.images.len(), self.images.dim()),
                    self.damage.to_string(),
                    format!("dot softmax, beta {}, {steps}", self.rule.beta),
                    format!("{:.1} %", percent(recalled, count)),
                    format!("{:.1} %", 100.0 * o.nearest),
                    format!("{:.1e}", o.verdict.error),
                    format!("{:.1e}{}", o.verdict.bound, if o.wrong > 0 { " EXCEEDED" } else { "" }),
                    table::duration(o.store),
                    table::duration(o.batch / count as u32),
                    table::duration(o.alone),
                ]
            })
            .collect();
        table::render(&header, &rows)
            + &format!(
                "\nrecalled: cosine with the whole image above {RECALLED}, of {count} queries; a query: in a batch of \
                 {count}; alone: in a batch of 1\n"
            )
    }
}

/// Rounded down to a tenth: 100 % means all.
fn percent(part: usize, whole: usize) -> f64 {
    (1000 * part / whole) as f64 / 10.0
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_not_rounded_up() {
        assert_eq!((percent(9999, 10_000), percent(10_000, 10_000), percent(0, 7)), (99.9, 100.0, 0.0));
    }

    #[test]
    fn cosine_of_nothing_is_nothing() {
        assert_eq!(cosine(&[0.0; 3], &[1.0, 2.0, 3.0]), 0.0);
        assert!((cosine(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-6);
    }

    /// The check can fail: an answer is spoiled by more than rounding could.
    #[test]
    fn a_wrong_expectation_is_reported() {
        let images = Images::built_in(Some(12)).unwrap();
        let damage = Damage::new(Kind::LowerHalf, None, 1).unwrap();
        let queries: Vec<f32> =
            (0..12).flat_map(|i| damage.apply(i, &images.pixels[i * 784..(i + 1) * 784], 28, 28)).collect();
        let rule = Rule::softmax(1.0);
        let expected = judge::expect(&Problem::new(rule, 784, &images.pixels), &queries, 1);
        let mut job = Job { images, damage, queries, rule, steps: 1, expected };
        let right = job.run(Device::cpu()).unwrap();
        assert!(right.wrong == 0 && right.verdict.agrees() && right.nearest == 1.0);
        job.expected[5].output[300] += 1e-4;
        let wrong = job.run(Device::cpu()).unwrap();
        assert!(wrong.wrong == 1 && !wrong.verdict.agrees());
        assert!(job.table(&[wrong]).contains("EXCEEDED"));
    }
}
