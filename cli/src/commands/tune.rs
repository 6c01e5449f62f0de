//! `attractor tune`: which settings suit this adapter, by measurement.
//!
//! One setting after the other is moved from its default as long as that wins. Two tunings are compared in rounds: each
//! shape on which their plans differ is timed under both, one right after the other, and who comes first changes from
//! round to round. So what slows the machine for longer than a moment slows both, and a ratio is of one moment.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use attractor::{
    Device, Explanation, Memory, Recording, RetrieveOptions, Rows, Rule, Separation, Similarity, Tuning,
    user_cache_folder, wgpu,
};
use indicatif::ProgressBar;

use crate::args::{DeviceArgs, at_least_one};
use crate::failure::{Failure, emit};
use crate::ui::progress;
use crate::ui::table::{duration, render};
use harness::Rng;
use harness::stats::quartiles;
use harness::workloads::{LoadShape, TUNED_SHAPES};

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Retrievals of a few shapes are timed under other settings than the defaults, by the adapter's timestamps where it has them. \
A setting is taken where it wins by more than the noise: the lower quartile of its rounds, each a geometric mean over the \
shapes that it changes, must be ahead by more than half the spread (quartiles) of the defaults against themselves, 2 % at \
least, and on no shape may it be behind by as much. What is found is then measured again as a whole, and has to win again. \
Every answer is checked against that under the defaults.

The settings are kept in the user's cache folder ($XDG_CACHE_HOME/attractor or ~/.cache/attractor, on macOS \
~/Library/Caches/attractor, on Windows %LOCALAPPDATA%\\attractor; ATTRACTOR_CACHE_DIR overrides it) for this adapter, its \
driver and this version of attractor, and other commands go by them unless told --tuning none.";

/// The flags of `attractor tune`.
#[derive(clap::Args, Debug)]
pub struct TuneArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// About how long to measure, in seconds; what there is no time for keeps its default.
    #[arg(long, value_name = "S", default_value = "30", value_parser = at_least_one)]
    seconds: usize,
    /// Write the settings to this file instead, to be used by --tuning FILE.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a setting is moved: from where it is, again and again as long as it wins, or to a value.
#[derive(Clone, Copy)]
enum Move {
    Double,
    Halve,
    To(u64),
}

/// What is tried, in this order. What bounds the work of a workgroup is not: that is for frame budgets. Nor is from
/// when on queries are held: that is for the time it takes to compile, which no retrieval after the first shows.
const MOVES: [(&str, &[Move]); 12] = [
    ("stream_max_batch", &[Move::Double, Move::Halve]),
    ("workgroups", &[Move::Double, Move::Halve]),
    ("register_max_dim", &[Move::To(0), Move::To(64), Move::To(128)]),
    ("wide_tile_min_batch", &[Move::To(17), Move::To(1 << 62)]),
    ("stream_max_queries", &[Move::Halve]),
    ("max_score_bytes", &[Move::Halve]),
    ("max_chunk_rows", &[Move::Halve]),
    ("max_listed_queries", &[Move::Halve]),
    ("max_queries_per_block", &[Move::Halve]),
    ("register_min_rows_per_split", &[Move::Double, Move::Halve]),
    ("register_max_floats", &[Move::Halve, Move::Double]),
    ("register_subgroups", &[Move::To(0), Move::To(1)]),
];

/// Shares of the time by which the shapes are made, and the settings tried; the rest confirms what was found.
const MADE: f64 = 0.35;
const TRIED: f64 = 0.8;
/// Rounds of a comparison: at the least for it to tell anything, to find out how noisy the machine is, and where it
/// looks well.
const ROUNDS: [usize; 3] = [3, 5, 11];
/// Runs of a shape that there must be time for while shapes are made, or it is left out: a comparison takes 12 to 44.
const RUNS: f64 = 100.0;
/// No win is smaller, however quiet the machine.
const LEAST_WIN: f64 = 0.02;
/// Bytes of the patterns of one shape, at the most: beyond any cache.
const LARGEST: u64 = 256 << 20;

/// Tunes, and keeps what was found.
pub fn run(args: &TuneArgs) -> Result<(), Failure> {
    let device = args.device.open()?;
    let Some(start) = device.tuning() else {
        let why = "the CPU engine has no settings to tune, and no other device is asked for or found (--software takes a \
                   software adapter)";
        return Err(Failure::Work(why.into()));
    };
    let path = match &args.out {
        Some(out) => {
            attractor::files::check_target(out, &[])?;
            out.clone()
        }
        None => user_cache_folder().and_then(|folder| Tuning::file(&device, &folder)).ok_or_else(|| {
            Failure::Work("no cache folder of this user is known: set ATTRACTOR_CACHE_DIR, or use --out".into())
        })?,
    };
    let mut tuner = Tuner::new(device, start, args.seconds, &TUNED_SHAPES)?;
    let found = tuner.search()?;
    let (confirmed, table) = tuner.confirm(found)?;
    tuner.budget.bar.finish_and_clear();
    confirmed.write(&path, &tuner.device)?;

    let by = if tuner.stopwatch.timestamps().is_some() { "its timestamps" } else { "the time until it is through" };
    let outcome = match differences(start, confirmed) {
        moved if !moved.is_empty() => moved.join(", "),
        _ if found == start => "the defaults: nothing else won by more than the noise".into(),
        _ => format!("the defaults: {} did not win again", differences(start, found).join(", ")),
    };
    let to_be = if args.out.is_some() { format!(", for --tuning {}", path.display()) } else { String::new() };
    emit(&format!(
        "{}, by {by}\nnoise {:.1} %, {} settings tried\n{table}{outcome}\nwrote {}{to_be}\n",
        tuner.device.info(),
        100.0 * tuner.noise,
        tuner.tried,
        path.display(),
    ))
}

/// The settings that differ, in words.
fn differences(start: Tuning, now: Tuning) -> Vec<String> {
    let pairs = start.settings().zip(now.settings()).filter(|(start, now)| start != now);
    pairs.map(|((name, was), (_, now))| format!("{name} {now} instead of {was}")).collect()
}

/// The time there is.
struct Budget {
    begin: Instant,
    seconds: f64,
    bar: ProgressBar,
}

impl Budget {
    /// The share that is spent.
    fn spent(&self) -> f64 {
        let spent = self.begin.elapsed().as_secs_f64();
        self.bar.set_position(spent as u64);
        spent / self.seconds
    }
}

/// A shape as it is measured.
struct Load {
    name: String,
    memory: Memory,
    queries: Vec<f32>,
    batch: usize,
    source: wgpu::Buffer,
    target: wgpu::Buffer,
    /// The answers under the defaults, and how far rounding may take others from them.
    expected: Vec<f32>,
    tolerance: f64,
}

impl Load {
    /// So many patterns that a retrieval takes about `target` seconds; `None` where the least of them take more than
    /// `most`.
    fn new(
        device: &Device,
        stopwatch: &Stopwatch,
        shape: &LoadShape,
        target: f64,
        most: f64,
    ) -> Result<Option<Self>, Failure> {
        let LoadShape { batch, dim, patterns, sparse, .. } = *shape;
        let rule = match sparse {
            // Some dozens of patterns have weight.
            true => Rule::new(Similarity::Dot, Separation::Entmax { alpha: 1.5 }, 1.0),
            false => Rule::attention(dim),
        };
        let mut rng = Rng(batch as u64 + ((dim as u64) << 32));
        let queries = rng.vector(batch * dim);
        let mut memory = Memory::new(device, dim, rule)?;
        memory.add(&rng.vector(patterns * dim))?;
        // A sixteenth of the queries takes a quarter of the time or less, and tells of hours before they are spent.
        let sixteenth = || {
            let begin = Instant::now();
            let options = RetrieveOptions::default().plan_for(batch);
            memory.retrieve_with_blocking(&queries[..batch.div_ceil(16) * dim], &options)?;
            Ok::<f64, Failure>(begin.elapsed().as_secs_f64())
        };
        if most <= 0.0 || (sixteenth()? > most && 4.0 * sixteenth()? > most) {
            return Ok(None);
        }
        let buffer = |contents: &[f32]| {
            let usage = wgpu::BufferUsages::STORAGE;
            let size = size_of_val(contents) as u64;
            let descriptor =
                wgpu::BufferDescriptor { label: Some("attractor.tune"), size, usage, mapped_at_creation: true };
            let buffer = stopwatch.device.create_buffer(&descriptor);
            if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
                view.copy_from_slice(bytemuck::cast_slice(contents));
            }
            buffer.unmap();
            buffer
        };
        let (source, target_buffer) = (buffer(&queries), buffer(&vec![0.0; batch * dim]));
        let mut load = Self {
            name: String::new(),
            memory,
            queries,
            batch,
            source,
            target: target_buffer,
            expected: Vec::new(),
            tolerance: 0.0,
        };
        loop {
            let seconds = stopwatch.time(&load)?;
            if seconds > most {
                return Ok(None);
            }
            if seconds >= target || load.memory.len() as u64 * dim as u64 * 8 > LARGEST {
                break;
            }
            let more = rng.vector(load.memory.len() * dim);
            load.memory.add(&more)?;
        }
        load.expected = load.answers()?;
        let (patterns, rounding) = (load.memory.len(), f64::from(f32::EPSILON));
        // Coordinates are below 1, so no score has terms of more than `beta d` in all.
        let terms = f64::from(rule.beta) * dim as f64;
        load.tolerance = 2.0 * rounding * (32.0 + (patterns as f64).sqrt() + 8.0 * terms);
        load.name = format!("{} (B {batch}, N {patterns}, d {dim})", shape.name);
        Ok(Some(load))
    }

    fn answers(&self) -> Result<Vec<f32>, Failure> {
        Ok(self.memory.retrieve_with_blocking(&self.queries, &RetrieveOptions::default())?.output)
    }

    /// What would be done, however it came to be chosen.
    fn explained(&self) -> Result<Explanation, Failure> {
        let told = self.memory.explain(self.batch, &RetrieveOptions::default())?;
        Ok(Explanation { tuning: String::new(), ..told })
    }
}

/// The largest difference of two answers; infinite where one is not a number.
fn worst(got: &[f32], expected: &[f32]) -> f64 {
    let errors = got.iter().zip(expected).map(|(got, expected)| f64::from((got - expected).abs()));
    errors.fold(0.0, |most, error| if error.is_nan() { f64::INFINITY } else { most.max(error) })
}

/// Times retrievals.
struct Stopwatch {
    device: wgpu::Device,
    queue: wgpu::Queue,
    timestamps: Option<Timestamps>,
    /// Whether they have told nothing impossible yet.
    trusted: Cell<bool>,
}

struct Timestamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

impl Stopwatch {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let timestamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| {
            let label = Some("attractor.tune");
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor { label, size: 16, usage, mapped_at_creation: false })
            };
            Timestamps {
                set: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label,
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
                period: f64::from(queue.get_timestamp_period()) * 1e-9,
            }
        });
        Self { device: device.clone(), queue: queue.clone(), timestamps, trusted: Cell::new(true) }
    }

    /// The timestamps, as long as they are to be believed.
    fn timestamps(&self) -> Option<&Timestamps> {
        self.timestamps.as_ref().filter(|_| self.trusted.get())
    }

    /// Seconds of a retrieval as the device is tuned now. The one before it, untimed, has what there is to compile and
    /// to allocate.
    fn time(&self, load: &Load) -> Result<f64, Failure> {
        self.once(load)?;
        self.once(load)
    }

    fn once(&self, load: &Load) -> Result<f64, Failure> {
        let (count, queries, output) = (load.batch, Rows::new(&load.source), Rows::new(&load.target));
        let recording = Recording { count, queries, output, state: None, report: None };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let options = RetrieveOptions::default();
        match self.timestamps() {
            None => load.memory.record(&mut encoder, &recording, &options)?,
            Some(Timestamps { set, resolved, staging, .. }) => {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                };
                load.memory.record_timed(&mut encoder, &recording, &options, writes)?;
                encoder.resolve_query_set(set, 0..2, resolved, 0);
                encoder.copy_buffer_to_buffer(resolved, 0, staging, 0, 16);
            }
        }
        let begin = Instant::now();
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        let took = begin.elapsed().as_secs_f64();
        let Some(Timestamps { staging, period, .. }) = self.timestamps() else { return Ok(took) };
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.wait()?;
        let view = staging.get_mapped_range(..).map_err(|error| lost(&error))?;
        let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.unmap();
        let seconds = times[1].saturating_sub(times[0]) as f64 * period;
        self.trusted.set(seconds > 0.0 && seconds <= took);
        Ok(if self.trusted.get() { seconds } else { took })
    }

    fn wait(&self) -> Result<(), Failure> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ()).map_err(|error| lost(&error))
    }
}

fn lost(error: &dyn std::error::Error) -> Failure {
    Failure::Work(format!("the device does not answer: {error}"))
}

/// What comparing two tunings gave: for each load the times under one and the other, round by round.
struct Compared {
    times: Vec<Vec<[f64; 2]>>,
}

impl Compared {
    fn rounds(&self) -> usize {
        self.times.first().map_or(0, Vec::len)
    }

    /// The median time of one load under the first (0) or the second (1).
    fn median(&self, load: usize, of: usize) -> f64 {
        quartiles(self.times[load].iter().map(|times| times[of]).collect())[1]
    }

    /// How many times faster the second is, of one load in each round.
    fn ratios(&self, load: usize) -> Vec<f64> {
        self.times[load].iter().map(|[one, other]| one / other).collect()
    }

    /// The same of all loads, by their geometric mean.
    fn means(&self) -> Vec<f64> {
        let log = |round: usize| self.times.iter().map(|times| (times[round][0] / times[round][1]).ln()).sum::<f64>();
        (0..self.rounds()).map(|round| (log(round) / self.times.len() as f64).exp()).collect()
    }

    /// Whether the second is ahead by more than `noise`, and nowhere as much behind.
    fn wins(&self, noise: f64) -> bool {
        let behind = |load| quartiles(self.ratios(load))[2] < 1.0 - noise;
        self.rounds() >= ROUNDS[0] && quartiles(self.means())[0] > 1.0 + noise && !(0..self.times.len()).any(behind)
    }
}

/// The search.
struct Tuner {
    device: Device,
    start: Tuning,
    stopwatch: Stopwatch,
    budget: Budget,
    loads: Vec<Load>,
    /// Seconds that each takes under the defaults.
    usual: Vec<f64>,
    noise: f64,
    tried: usize,
}

impl Tuner {
    /// Makes those of `shapes` that there is time for, one at least, and finds out how noisy the machine is.
    fn new(device: Device, start: Tuning, seconds: usize, shapes: &[LoadShape]) -> Result<Self, Failure> {
        device.set_tuning(start);
        let (wgpu_device, queue) = device.wgpu().ok_or_else(|| Failure::Work("no GPU to tune".into()))?;
        let stopwatch = Stopwatch::new(wgpu_device, queue);
        let bar = progress::bar(seconds, "tuning");
        let budget = Budget { begin: Instant::now(), seconds: seconds as f64, bar };
        // Some thousand runs in all.
        let target = (budget.seconds / 1500.0).clamp(1e-3, 2e-2);
        let (loads, usual) = (Vec::new(), Vec::new());
        let mut tuner = Self { device, start, stopwatch, budget, loads, usual, noise: 0.0, tried: 0 };
        for shape in shapes {
            // The first is made in any case.
            let left = match tuner.loads.is_empty() {
                true => f64::INFINITY,
                false => (MADE - tuner.budget.spent()) * tuner.budget.seconds,
            };
            tuner.loads.extend(Load::new(&tuner.device, &tuner.stopwatch, shape, target, left / RUNS)?);
        }
        let all: Vec<usize> = (0..tuner.loads.len()).collect();
        let compared = tuner.compare(&all, start, start, ROUNDS[1], f64::INFINITY)?;
        let [lower, _, upper] = quartiles(all.iter().flat_map(|load| compared.ratios(*load)).collect());
        tuner.usual = all.iter().map(|load| compared.median(*load, 0)).collect();
        tuner.noise = ((upper - lower) / 2.0).max(LEAST_WIN);
        Ok(tuner)
    }

    /// Times `loads` under both in turns, in so many rounds unless that share of the time is spent before.
    fn compare(
        &self,
        loads: &[usize],
        one: Tuning,
        other: Tuning,
        rounds: usize,
        share: f64,
    ) -> Result<Compared, Failure> {
        let mut compared = Compared { times: vec![Vec::new(); loads.len()] };
        self.go_on(&mut compared, loads, one, other, rounds, share)?;
        Ok(compared)
    }

    fn go_on(
        &self,
        compared: &mut Compared,
        loads: &[usize],
        one: Tuning,
        other: Tuning,
        rounds: usize,
        share: f64,
    ) -> Result<(), Failure> {
        for round in compared.rounds()..rounds {
            if self.budget.spent() >= share {
                break;
            }
            for (times, load) in compared.times.iter_mut().zip(loads) {
                let timed = |tuning| {
                    self.device.set_tuning(tuning);
                    self.stopwatch.time(&self.loads[*load])
                };
                times.push(match round % 2 {
                    0 => [timed(one)?, timed(other)?],
                    _ => {
                        let second = timed(other)?;
                        [timed(one)?, second]
                    }
                });
            }
        }
        Ok(())
    }

    /// The shapes that two tunings serve in different ways.
    fn differing(&self, one: Tuning, other: Tuning) -> Result<Vec<usize>, Failure> {
        let mut differing = Vec::new();
        for (i, load) in self.loads.iter().enumerate() {
            self.device.set_tuning(one);
            let told = load.explained()?;
            self.device.set_tuning(other);
            if load.explained()? != told {
                differing.push(i);
            }
        }
        Ok(differing)
    }

    /// Moves one setting after the other as long as it wins.
    fn search(&mut self) -> Result<Tuning, Failure> {
        let mut best = self.start;
        for (name, moves) in MOVES {
            for &step in moves {
                let before = best;
                while let Some(candidate) = moved(best, name, step) {
                    if self.budget.spent() >= TRIED || !self.try_out(best, candidate)? {
                        break;
                    }
                    best = candidate;
                }
                // What went one way need not be tried the other.
                if best != before && matches!(step, Move::Double | Move::Halve) {
                    break;
                }
            }
        }
        Ok(best)
    }

    /// Whether `candidate` answers as it should and wins over `best`.
    fn try_out(&mut self, best: Tuning, candidate: Tuning) -> Result<bool, Failure> {
        let loads = self.differing(best, candidate)?;
        if loads.is_empty() {
            return Ok(false);
        }
        self.tried += 1;
        self.check(&loads, candidate)?;
        let mut compared = self.compare(&loads, best, candidate, ROUNDS[0], TRIED)?;
        if compared.rounds() == 0 {
            return Ok(false);
        }
        if quartiles(compared.means())[1] > 1.0 {
            self.go_on(&mut compared, &loads, best, candidate, ROUNDS[2], TRIED)?;
        }
        let wins = compared.wins(self.noise);
        let [lower, median, upper] = quartiles(compared.means());
        let what = differences(best, candidate).join(", ");
        log::info!(
            "{what}: {median:.3} ({lower:.3}-{upper:.3}) on {} shapes, {}",
            loads.len(),
            if wins { "taken" } else { "left" }
        );
        Ok(wins)
    }

    /// Holds the answers of `loads` under `tuning` against those under the defaults.
    fn check(&self, loads: &[usize], tuning: Tuning) -> Result<(), Failure> {
        self.device.set_tuning(tuning);
        for load in loads.iter().map(|load| &self.loads[*load]) {
            let error = worst(&load.answers()?, &load.expected);
            if error > load.tolerance {
                return Err(Failure::Work(format!(
                    "{}: {} answers {error:.1e} away from the defaults, where rounding explains {:.1e}; nothing is saved",
                    load.name,
                    differences(self.start, tuning).join(", "),
                    load.tolerance
                )));
            }
        }
        Ok(())
    }

    /// What was found if it wins again as a whole, or else the defaults; and a table.
    fn confirm(&self, found: Tuning) -> Result<(Tuning, String), Failure> {
        let loads = self.differing(self.start, found)?;
        self.check(&loads, found)?;
        let mut compared = self.compare(&loads, self.start, found, ROUNDS[0], f64::INFINITY)?;
        self.go_on(&mut compared, &loads, self.start, found, ROUNDS[2], 1.0)?;
        let confirmed = !loads.is_empty() && compared.wins(0.0);
        let seconds = |seconds| duration(Duration::from_secs_f64(seconds));
        let row = |(i, load): (usize, &Load)| match loads.iter().position(|load| *load == i) {
            None => vec![load.name.clone(), seconds(self.usual[i]), "the same plan".into()],
            Some(at) => {
                let [lower, ratio, upper] = quartiles(compared.ratios(at));
                let [usual, found] = [0, 1].map(|of| seconds(compared.median(at, of)));
                vec![load.name.clone(), usual, found, format!("{ratio:.2} ({lower:.2}-{upper:.2})")]
            }
        };
        let rows: Vec<Vec<String>> = self.loads.iter().enumerate().map(row).collect();
        let table = render(&["shape", "default", "found", "times as fast (quartiles)"], &rows);
        Ok((if confirmed { found } else { self.start }, table))
    }
}

/// `tuning` with one setting moved; `None` where it does not move.
fn moved(tuning: Tuning, name: &str, step: Move) -> Option<Tuning> {
    let (_, now) = tuning.settings().find(|(known, _)| *known == name)?;
    let value = match step {
        Move::Double => now.checked_mul(2)?,
        Move::Halve => now / 2,
        Move::To(value) => value,
    };
    let mut moved = tuning;
    (value != now && moved.set(name, value)).then_some(moved)
}

#[cfg(test)]
mod tests {
    use attractor::{AdapterChoice, DeviceOptions};

    use super::*;

    fn compared(ratios: &[&[f64]]) -> Compared {
        Compared { times: ratios.iter().map(|load| load.iter().map(|ratio| [*ratio, 1.0]).collect()).collect() }
    }

    #[test]
    fn only_what_is_ahead_by_more_than_the_noise_wins() {
        let steady = &[1.10, 1.11, 1.12, 1.13, 1.14][..];
        assert!(compared(&[steady]).wins(0.05));
        assert!(!compared(&[steady]).wins(0.12), "within the noise");
        assert!(!compared(&[&[0.9, 1.3, 1.3, 0.8, 1.4]]).wins(0.05), "the median alone says nothing");
        assert!(!compared(&[&[1.5, 1.5]]).wins(0.05), "too few rounds");
        let behind = &[0.80, 0.81, 0.82, 0.83, 0.84][..];
        assert!(!compared(&[&[1.5; 5], behind]).wins(0.05), "ahead on the whole, and clearly behind on one shape");
        assert!(compared(&[&[1.5; 5], &[0.9, 1.1, 0.9, 1.1, 1.0]]).wins(0.05));
    }

    #[test]
    fn wrong_answers_are_seen() {
        assert_eq!(worst(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(worst(&[1.0, f32::NAN], &[1.0, 2.0]), f64::INFINITY);
    }

    /// Lavapipe may not hold queries, where holding them is several times as fast: that is found. And answers that are
    /// not those of the start end it.
    #[test]
    fn what_is_clearly_faster_is_found_and_what_is_wrong_refused() {
        let (backends, adapter) = (Some(wgpu::Backends::VULKAN), Some(AdapterChoice::Name("llvmpipe".into())));
        let options = DeviceOptions { backends, adapter, ..DeviceOptions::default() };
        let Ok(device) = pollster::block_on(Device::with_options(&options)) else {
            let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
            assert!(!required.contains("lavapipe"), "lavapipe is required and is not there");
            return eprintln!("SKIP: no lavapipe");
        };
        let mut start = device.tuning().unwrap();
        assert!(start.set("register_max_dim", 0) && start.set("register_min_macs", 0));
        let shape = LoadShape { name: "held", batch: 128, dim: 64, patterns: 256, sparse: false };
        let mut tuner = Tuner::new(device, start, 60, &[shape]).unwrap();
        let found = tuner.search().unwrap();
        assert!(found.register_max_dim >= 64, "{:?}", differences(start, found));
        let (confirmed, table) = tuner.confirm(found).unwrap();
        assert_eq!(confirmed, found, "{table}");
        tuner.loads[0].expected[5] += 1e-3;
        let refused = tuner.check(&[0], found).unwrap_err().to_string();
        assert!(refused.contains("nothing is saved") && refused.contains("register_max_dim"), "{refused}");
    }

    #[test]
    fn every_setting_that_is_tried_is_one() {
        let start = Tuning::of(wgpu::DeviceType::Cpu);
        for (name, moves) in MOVES {
            assert!(moves.iter().any(|step| moved(start, name, *step).is_some()), "{name}");
        }
        assert_eq!(moved(start, "register_subgroups", Move::To(1)), None, "it is there");
    }
}
