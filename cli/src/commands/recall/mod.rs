//! `attractor recall`: store images, damage them, recall them, check every answer, show it.

mod damage;
mod digits;
mod judge;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use attractor::{
    DEFAULT_TOLERANCE, Device, DeviceOptions, FixedPoint, Memory, Retrieval, RetrieveOptions, Rule, Separation,
    Similarity, Software, Statistics, Stop,
};
use clap::ValueEnum;
use harness::idx::Images;
use rayon::prelude::*;

use crate::args::{Place, TunedArgs, at_least_one, finite, fraction};
use crate::commands::retrieve::separation_name;
use crate::failure::{Failure, emit};
use crate::ui::picture;
use crate::ui::progress;
use crate::ui::table;
use damage::{Damage, Kind};
use judge::{Update, Verdict};

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Pixels run from -1 (black) to 1 (white); hidden pixels are 0. Query i is image i, damaged. It counts as recalled when \
the cosine of the answer with the whole image is above 0.9; `nearest` is the share of answers for which no stored image \
is nearer than the right one. Steps and support (patterns with weight) are means over the queries. `fixed points` are \
the shares that rest on a single image (largest weight >= 0.99), on an average over some, and on an average over all \
(perplexity >= N/2).

Every answer y is held against a reference in f64. The largest error of a coordinate may be at most, with weights p, \
scores z, eps = 2 u = 2^-23, m_j = sum_i p_i |k_ij| and a = 2 eps sqrt(d) |beta| |x|:

    A_j  +  sum_i min(p_i |k_ij|, u m_j)  +  m_j sum_i min(p_i, u)  +  8 eps m_j
    softmax  A_j = 2 sum_i p_i (a |k_i| + 8 eps + 3 eps |z_i - max z|) |k_ij - y_j|
    entmax   A_j = sum_i s_i (e_i + max e) |k_ij - y_j|,  e_i = a |k_i| + 16 eps
             s_i = [(alpha-1) (z_i + 2 max e) - tau]_+ ^ ((2-alpha)/(alpha-1)); sparsemax is alpha = 2

at the worst j. The derivative of entmax is diag(s) - s s^T / sum s, so errors e of the scores move y by \
sum_i s_i (e_i - mean e) (k_i - y); the s_i above are the largest within reach of e. Every update is judged: those before \
the last are asked for one by one, and each starts from the state that the device had. An answer must also have come to \
rest where its own changes say so. The table shows the update that uses most of its bound. One that exceeds it makes the \
exit status 1.";

/// The cosine above which an image counts as recalled.
const RECALLED: f32 = 0.9;
/// The most updates of a state that does not come to rest.
const CAP: u32 = 100;

/// The most queries that a software adapter gets that runs beside the CPU engine.
const JOINED: usize = 50;

/// The separations that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeparationArg {
    /// Every pattern has weight
    Softmax,
    /// Entmax 1.5: few patterns have weight
    Entmax,
    /// Fewer still
    Sparsemax,
    /// The three side by side
    All,
}

impl SeparationArg {
    fn separations(self) -> Vec<Separation> {
        const ENTMAX: Separation = Separation::Entmax { alpha: 1.5 };
        match self {
            Self::Softmax => vec![Separation::Softmax],
            Self::Entmax => vec![ENTMAX],
            Self::Sparsemax => vec![Separation::Sparsemax],
            Self::All => vec![Separation::Softmax, ENTMAX, Separation::Sparsemax],
        }
    }
}

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
    /// How many of them to damage and recall [default: all that are stored; 50 on a software adapter that runs beside
    /// the CPU engine].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    queries: Option<usize>,
    /// How scores become weights.
    #[arg(long, value_enum, default_value = "all")]
    separation: SeparationArg,
    /// The inverse temperature. At 1 every rule recalls; at 0.1 softmax averages where the sparse rules still recall.
    #[arg(long, default_value = "1", value_parser = finite, allow_negative_numbers = true)]
    beta: f32,
    /// The number of updates [default: until no pixel moves by more than 1e-4, at most 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// The picture to write.
    #[arg(long, value_name = "PNG", default_value = "recall.png")]
    output: PathBuf,
    #[command(flatten)]
    device: TunedArgs,
}

/// What is asked of every device.
struct Job {
    images: Images,
    damage: Damage,
    /// The damaged images, a row each.
    queries: Vec<f32>,
    rules: Vec<Rule>,
    stop: Stop,
}

/// What one device made of it by one rule.
struct Outcome {
    device: Device,
    rule: Rule,
    /// The answers to all queries.
    batch: Retrieval,
    /// The answer to the first query, asked alone.
    alone: Retrieval,
    /// One for each answer of the batch, and one for the query alone.
    verdicts: Vec<Verdict>,
    store_time: Duration,
    batch_time: Duration,
    alone_time: Duration,
}

/// What an outcome is worth.
struct Judgement {
    /// Whether each query brought its image back.
    found: Vec<bool>,
    /// The share of answers to which no stored image is nearer than the right one.
    nearest: f64,
    verdict: Verdict,
    wrong: usize,
}

/// A query on its way to its answer.
struct Walk {
    query: usize,
    state: Vec<f32>,
    next: Vec<f32>,
}

impl Walk {
    /// How far the largest change of a coordinate is.
    fn change(&self) -> f64 {
        self.state.iter().zip(&self.next).map(|(x, y)| f64::from((y - x).abs())).fold(0.0, f64::max)
    }
}

/// Runs the job on the device asked for, and on a software adapter where nothing else would run the shaders.
pub fn run(args: &RecallArgs) -> Result<(), Failure> {
    let damage = Damage::new(args.damage, args.level, args.seed).map_err(Failure::Usage)?;
    if let (Some(queries), Some(patterns)) = (args.queries, args.patterns)
        && queries > patterns
    {
        return Err(Failure::Usage(format!("--queries {queries} is more than --patterns {patterns}")));
    }
    let inputs: Vec<&Path> = args.images.as_deref().into_iter().chain(args.device.tuning.file()).collect();
    attractor::files::check_target(&args.output, &inputs)?;
    let images = match &args.images {
        Some(path) => digits::open(path, args.patterns)?,
        None => digits::built_in(args.patterns)?,
    };
    let count = args.queries.unwrap_or(images.count());
    if count > images.count() {
        return Err(Failure::Usage(format!("--queries {count} is more than the {} images stored", images.count())));
    }
    let device = args.device.open()?;
    let (devices, note) = with_software(device, &args.device);

    let dim = images.dim();
    let spoil = |(i, image)| damage.apply(i, image, images.height, images.width);
    let queries: Vec<f32> = images.pixels.chunks_exact(dim).take(count).enumerate().flat_map(spoil).collect();
    let separations = args.separation.separations();
    let rules = separations.into_iter().map(|separation| Rule::new(Similarity::Dot, separation, args.beta)).collect();
    let stop = match args.steps {
        Some(steps) => Stop::Steps(steps),
        None => Stop::Converge { max_steps: CAP, tolerance: DEFAULT_TOLERANCE },
    };
    let job = Job { images, damage, queries, rules, stop };

    let mut outcomes = Vec::new();
    for (joined, device) in devices.iter().enumerate() {
        // A software adapter that nobody asked for is there to show that the shaders are right, not to keep people
        // waiting.
        let asked = if joined > 0 && args.queries.is_none() { count.min(JOINED) } else { count };
        for &rule in &job.rules {
            outcomes.push(job.run(device, rule, asked)?);
        }
    }
    let judgements: Vec<Judgement> = outcomes.iter().map(|outcome| job.judge(outcome)).collect();

    let mut text = job.heading() + &table(&outcomes, &judgements);
    if let Some(first) = outcomes.first() {
        let row = |label: &str, pixels, found| picture::Row { label: label.into(), pixels, found };
        let mut rows = vec![row("stored", &job.images.pixels[..], None), row("damaged", &job.queries, None)];
        rows.extend(outcomes.iter().zip(&judgements).take(job.rules.len()).map(|(outcome, judgement)| {
            let label = separation_name(outcome.rule.separation);
            row(&label, &outcome.batch.output, Some(&judgement.found))
        }));
        picture::write(&args.output, &job.images, count, &rows)?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\nwrote {}: rows of stored, damaged and recalled images, by {}; what was not recalled is framed in red",
            args.output.display(),
            first.device.info()
        );
    }
    text.extend(note.map(|note| note + "\n"));
    emit(&text)?;

    let wrong: Vec<String> = outcomes
        .iter()
        .zip(&judgements)
        .filter(|(_, judgement)| judgement.wrong > 0)
        .map(|(outcome, judgement)| {
            let (rule, device) = (separation_name(outcome.rule.separation), outcome.device.info());
            let of = outcome.batch.batch + outcome.alone.batch;
            format!("{} of {of} answers by {rule} of {device} exceed their bound", judgement.wrong)
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Work(format!("the reference disagrees: {}", wrong.join("; ")))) }
}

/// Adds a software adapter where `auto` found no GPU, and says why where there is none: the shaders should run wherever
/// they can.
fn with_software(device: Device, args: &TunedArgs) -> (Vec<Device>, Option<String>) {
    if args.device.device != Place::Auto || args.device.software || !device.is_cpu() {
        return (vec![device], None);
    }
    let options = DeviceOptions { software: Software::Require, ..DeviceOptions::default() };
    match pollster::block_on(Device::with_options(&options)) {
        Ok(software) => {
            args.tuning.apply_stored(&software);
            (vec![device, software], None)
        }
        Err(attractor::Error::NoAdapter { .. }) => {
            let note = "no GPU and no software adapter here, so no shader ran (Debian and Ubuntu have one in \
                        mesa-vulkan-drivers)";
            (vec![device], Some(note.into()))
        }
        Err(error) => (vec![device], Some(format!("the software adapter does not open: {error}"))),
    }
}

impl Job {
    /// The outcome for the first `asked` queries.
    fn run(&self, device: &Device, rule: Rule, asked: usize) -> Result<Outcome, Failure> {
        let dim = self.images.dim();
        let start = Instant::now();
        let mut memory = Memory::new(device, dim, rule)?;
        memory.add(&self.images.pixels)?;
        let store_time = start.elapsed();

        // One query is asked first, with the plan of all that follow: it compiles the kernels. A query alone takes
        // another path than a batch, so its answer is checked like the rest.
        let timed = |queries: &[f32]| {
            let mut options = RetrieveOptions::default().statistics();
            options.stop = self.stop;
            let options = options.plan_for(queries.len() / dim);
            memory.retrieve_with_blocking(&queries[..dim], &options)?;
            let start = Instant::now();
            let answer = memory.retrieve_with_blocking(queries, &options)?;
            Ok::<_, attractor::Error>((answer, start.elapsed()))
        };
        let (batch, batch_time) = timed(&self.queries[..asked * dim])?;
        let (alone, alone_time) = timed(&self.queries[..dim])?;
        let mut verdicts = self.verdicts(&memory, &batch)?;
        verdicts.extend(self.verdicts(&memory, &alone)?);
        Ok(Outcome { device: device.clone(), rule, batch, alone, verdicts, store_time, batch_time, alone_time })
    }

    /// Judges every update on the way to `answers`, which came to the first queries. The states before the last are not
    /// among the answers, so the memory is asked for them one update at a time, by the same plan.
    fn verdicts(&self, memory: &Memory, answers: &Retrieval) -> Result<Vec<Verdict>, Failure> {
        let dim = self.images.dim();
        let update = Update::new(memory.rule(), dim, &self.images.pixels);
        let (cap, tolerance) = match self.stop {
            Stop::Steps(steps) => (steps, None),
            Stop::Converge { max_steps, tolerance } => (max_steps, Some(f64::from(tolerance))),
        };
        let mut verdicts: Vec<Verdict> = answers
            .steps
            .iter()
            .map(|steps| Verdict { stopped: (1..=cap).contains(steps), ..Verdict::default() })
            .collect();
        let options = RetrieveOptions::steps(1).plan_for(answers.batch);
        let mut walks: Vec<Walk> = (0..answers.batch)
            .zip(self.queries.chunks_exact(dim))
            .map(|(query, state)| Walk { query, state: state.to_vec(), next: Vec::new() })
            .collect();
        let bar = progress::bar(answers.steps.iter().map(|steps| *steps as usize).sum(), "reference");
        for step in 1..=cap {
            walks.retain(|walk| answers.steps[walk.query] >= step);
            let is_last = |walk: &Walk| answers.steps[walk.query] == step;
            let states: Vec<f32> =
                walks.iter().filter(|walk| !is_last(walk)).flat_map(|walk| &walk.state).copied().collect();
            let next = match states.is_empty() {
                true => Vec::new(),
                false => memory.retrieve_with_blocking(&states, &options)?.state,
            };
            let mut next = next.chunks_exact(dim);
            for walk in &mut walks {
                let next = if is_last(walk) { Some(answers.state(walk.query)) } else { next.next() };
                walk.next = next.unwrap_or_default().to_vec();
            }
            let judged: Vec<Verdict> = walks
                .par_iter()
                .map(|walk| {
                    let mut verdict = update.judge(&walk.state, &walk.next);
                    if let Some(tolerance) = tolerance {
                        verdict.stopped = match is_last(walk) {
                            true => step == cap || walk.change() <= tolerance + verdict.bound,
                            false => walk.change() >= tolerance - verdict.bound,
                        };
                    }
                    bar.inc(1);
                    verdict
                })
                .collect();
            for (walk, verdict) in walks.iter_mut().zip(judged) {
                verdicts[walk.query] = verdicts[walk.query].worse(verdict);
                walk.state = std::mem::take(&mut walk.next);
            }
        }
        bar.finish_and_clear();
        Ok(verdicts)
    }

    fn judge(&self, outcome: &Outcome) -> Judgement {
        let dim = self.images.dim();
        let wrong = outcome.verdicts.iter().filter(|verdict| !verdict.agrees()).count();
        let verdict = outcome.verdicts.iter().copied().reduce(Verdict::worse).unwrap_or_default();
        let output = &outcome.batch.output;
        let answers = output.chunks_exact(dim).zip(self.images.pixels.chunks_exact(dim));
        let found = answers.map(|(answer, image)| cosine(answer, image) > RECALLED).collect();
        Judgement { found, nearest: self.nearest(output), verdict, wrong }
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
        right as f64 / (output.len() / dim) as f64
    }

    fn heading(&self) -> String {
        let (Images { height, width, .. }, stored) = (&self.images, self.images.count());
        let until = match self.stop {
            Stop::Steps(1) => "1 step".into(),
            Stop::Steps(steps) => format!("{steps} steps"),
            Stop::Converge { max_steps, tolerance } => {
                format!("until no pixel moves by more than {tolerance}, at most {max_steps} steps")
            }
        };
        let beta = self.rules.first().map_or(0.0, |rule| rule.beta);
        format!(
            "{stored} images of {height} x {width}, damage {}, dot similarity, beta {beta}; \
             {until}\n\n",
            self.damage
        )
    }
}

/// A row for each outcome.
fn table(outcomes: &[Outcome], judgements: &[Judgement]) -> String {
    let header = [
        "device",
        "separation",
        "asked",
        "recalled",
        "nearest",
        "steps",
        "support",
        "fixed points",
        "worst error",
        "bound",
        "store",
        "a query",
        "alone",
    ];
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .zip(judgements)
        .map(|(o, judgement)| {
            let recalled = judgement.found.iter().filter(|&&found| found).count();
            let mark = match judgement.verdict {
                _ if judgement.wrong == 0 => "",
                Verdict { stopped: false, .. } => " STOPPED ELSEWHERE",
                _ => " EXCEEDED",
            };
            let statistics = o.batch.statistics.as_deref().unwrap_or_default();
            vec![
                o.device.info().to_string(),
                separation_name(o.rule.separation),
                o.batch.batch.to_string(),
                format!("{:.1} %", percent(recalled, o.batch.batch)),
                format!("{:.1} %", 100.0 * judgement.nearest),
                format!("{:.2}", mean(o.batch.steps.iter().copied())),
                format!("{:.1}", mean(statistics.iter().map(|s| s.support))),
                kinds(statistics),
                format!("{:.1e}", judgement.verdict.error),
                format!("{:.1e}{mark}", judgement.verdict.bound),
                table::duration(o.store_time),
                table::duration(o.batch_time / o.batch.batch as u32),
                table::duration(o.alone_time),
            ]
        })
        .collect();
    table::render(&header, &rows)
        + &format!(
            "\nrecalled: cosine with the whole image above {RECALLED}; a query: in a batch of all asked; alone: in a \
             batch of 1\n"
        )
}

fn mean(counts: impl ExactSizeIterator<Item = u32>) -> f64 {
    let of = counts.len().max(1) as f64;
    counts.map(f64::from).sum::<f64>() / of
}

/// The share of each kind of fixed point, those that are there.
fn kinds(statistics: &[Statistics]) -> String {
    const KINDS: [(FixedPoint, &str); 3] =
        [(FixedPoint::Single, "single"), (FixedPoint::Metastable, "some"), (FixedPoint::Global, "all")];
    let share = |kind| statistics.iter().filter(|s| s.kind == kind).count();
    let shares = KINDS.map(|(kind, name)| (share(kind), name));
    let there = shares.iter().filter(|(count, _)| *count > 0);
    there
        .map(|(count, name)| format!("{:.1} % {name}", percent(*count, statistics.len())))
        .collect::<Vec<_>>()
        .join(", ")
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

    /// The check can fail: an answer is spoiled by more than rounding could, and one comes from a step too early.
    #[test]
    fn a_wrong_answer_is_reported() {
        let images = digits::built_in(Some(12)).unwrap();
        let damage = Damage::new(Kind::LowerHalf, None, 1).unwrap();
        let queries: Vec<f32> =
            (0..12).flat_map(|i| damage.apply(i, &images.pixels[i * 784..(i + 1) * 784], 28, 28)).collect();
        let rules: Vec<Rule> = SeparationArg::All
            .separations()
            .into_iter()
            .map(|separation| Rule::new(Similarity::Dot, separation, 1.0))
            .collect();
        let stop = Stop::Converge { max_steps: CAP, tolerance: DEFAULT_TOLERANCE };
        let job = Job { images, damage, queries, rules, stop };
        for &rule in &job.rules {
            let mut outcome = job.run(&Device::cpu(), rule, 12).unwrap();
            let right = job.judge(&outcome);
            assert!(right.wrong == 0 && right.verdict.agrees() && right.nearest == 1.0, "{:?}", right.verdict);
            let mut memory = Memory::new(&Device::cpu(), 784, rule).unwrap();
            memory.add(&job.images.pixels).unwrap();
            for spoil in [
                |answers: &mut Retrieval| answers.state[5 * 784 + 300] += 1e-4,
                |answers: &mut Retrieval| answers.steps[7] -= 1,
                |answers: &mut Retrieval| answers.steps[7] += 1,
                |answers: &mut Retrieval| answers.steps[7] = 0,
            ] {
                let mut answers = outcome.batch.clone();
                spoil(&mut answers);
                outcome.verdicts = job.verdicts(&memory, &answers).unwrap();
                let wrong = job.judge(&outcome);
                assert!(wrong.wrong == 1 && !wrong.verdict.agrees(), "{rule:?}");
                let table = table(std::slice::from_ref(&outcome), &[wrong]);
                assert!(table.contains("EXCEEDED") || table.contains("STOPPED ELSEWHERE"), "{table}");
            }
        }
    }
}
