//! The search: one setting after the other is moved as long as that wins.

use std::time::{Duration, Instant};

use attractor::Device;
use attractor::tuning::Tuning;
use harness::stats::quartiles;
use harness::workloads::LoadShape;
use indicatif::ProgressBar;
use serde_json::json;

use super::differences;
use super::load::{Load, worst};
use super::stopwatch::Stopwatch;
use crate::failure::Failure;
use crate::ui::progress;
use crate::ui::report::Report;
use crate::ui::table::{Column, Table, duration};

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

const TRIED_COLUMNS: [Column; 4] = [
    Column::flexible("setting", 36, 56),
    Column::fixed("shapes", 6),
    Column::fixed("times as fast (quartiles)", 18),
    Column::fixed("", 5),
];
const SHAPE_COLUMNS: [Column; 4] = [
    Column::flexible("shape", 28, 42),
    Column::fixed("default", 8),
    Column::fixed("found", 13),
    Column::fixed("times as fast (quartiles)", 18),
];

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
pub struct Tuner {
    device: Device,
    start: Tuning,
    stopwatch: Stopwatch,
    budget: Budget,
    report: Report,
    /// The settings tried so far.
    table: Table,
    loads: Vec<Load>,
    /// Seconds that each takes under the defaults.
    usual: Vec<f64>,
    noise: f64,
    tried: usize,
}

impl Tuner {
    /// Makes those of `shapes` that there is time for, one at least, and finds out how noisy the machine is.
    pub fn new(
        device: Device,
        start: Tuning,
        seconds: usize,
        shapes: &[LoadShape],
        report: Report,
    ) -> Result<Self, Failure> {
        device.set_tuning(start);
        let (wgpu_device, queue) = device.wgpu().ok_or_else(|| Failure::Work("no GPU to tune".into()))?;
        let stopwatch = Stopwatch::new(wgpu_device, queue);
        let bar = progress::bar(seconds, "tuning");
        let budget = Budget { begin: Instant::now(), seconds: seconds as f64, bar };
        // Some thousand runs in all.
        let target = (budget.seconds / 1500.0).clamp(1e-3, 2e-2);
        let (loads, usual) = (Vec::new(), Vec::new());
        let table = Table::new(&TRIED_COLUMNS);
        let mut tuner = Self { device, start, stopwatch, budget, report, table, loads, usual, noise: 0.0, tried: 0 };
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

    /// Times `loads` under both, interleaved, in so many rounds unless that share of the time is spent before.
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
    pub fn search(&mut self) -> Result<Tuning, Failure> {
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
        let outcome = if wins { "taken" } else { "left" };
        self.report.push(
            "/tried",
            json!({
                "settings": what, "shapes": loads.len(), "times_as_fast": median, "quartiles": [lower, upper],
                "taken": wins,
            }),
        );
        if self.tried == 1 {
            self.say(&self.table.header())?;
        }
        let ratio = format!("{median:.2} ({lower:.2}-{upper:.2})");
        self.say(&self.table.row(&[what, loads.len().to_string(), ratio, outcome.into()]))?;
        Ok(wins)
    }

    /// Holds the answers of `loads` under `tuning` against those under the defaults.
    fn check(&self, loads: &[usize], tuning: Tuning) -> Result<(), Failure> {
        self.device.set_tuning(tuning);
        for load in loads.iter().map(|load| &self.loads[*load]) {
            let error = worst(&load.answers()?, &load.expected);
            if error > load.tolerance {
                return Err(Failure::Work(format!(
                    "{}: {} answers {error:.1e} away from the defaults, where rounding explains {:.1e}; nothing is \
                     saved",
                    load.name,
                    differences(self.start, tuning).join(", "),
                    load.tolerance
                )));
            }
        }
        Ok(())
    }

    /// What was found if it wins again as a whole, or else the defaults. Prints a table of the shapes.
    pub fn confirm(&self, found: Tuning) -> Result<Tuning, Failure> {
        let loads = self.differing(self.start, found)?;
        self.check(&loads, found)?;
        let mut compared = self.compare(&loads, self.start, found, ROUNDS[0], f64::INFINITY)?;
        self.go_on(&mut compared, &loads, self.start, found, ROUNDS[2], 1.0)?;
        let confirmed = !loads.is_empty() && compared.wins(0.0);
        let seconds = |seconds| duration(Duration::from_secs_f64(seconds));
        let table = Table::new(&SHAPE_COLUMNS);
        self.say(&("\n".to_owned() + &table.header()))?;
        for (i, load) in self.loads.iter().enumerate() {
            let cells = match loads.iter().position(|load| *load == i) {
                None => {
                    self.report.push("/shapes", json!({ "shape": load.name, "default_seconds": self.usual[i] }));
                    [load.name.clone(), seconds(self.usual[i]), "the same plan".into(), String::new()]
                }
                Some(at) => {
                    let [lower, ratio, upper] = quartiles(compared.ratios(at));
                    let [usual, found] = [0, 1].map(|of| compared.median(at, of));
                    self.report.push(
                        "/shapes",
                        json!({
                            "shape": load.name, "default_seconds": usual, "found_seconds": found,
                            "times_as_fast": ratio, "quartiles": [lower, upper],
                        }),
                    );
                    let ratio = format!("{ratio:.2} ({lower:.2}-{upper:.2})");
                    [load.name.clone(), seconds(usual), seconds(found), ratio]
                }
            };
            self.say(&table.row(&cells))?;
        }
        Ok(if confirmed { found } else { self.start })
    }

    /// Whether times are those of the adapter's timestamps.
    pub fn has_timestamps(&self) -> bool {
        self.stopwatch.timestamps().is_some()
    }

    /// What the machine's noise is, as a share, and how many settings were tried.
    pub fn effort(&self) -> (f64, usize) {
        (self.noise, self.tried)
    }

    /// The device, and the report, when the search is through.
    pub fn finish(self) -> (Device, Report) {
        self.budget.bar.finish_and_clear();
        (self.device, self.report)
    }

    /// Prints above the progress bar.
    fn say(&self, text: &str) -> Result<(), Failure> {
        self.budget.bar.suspend(|| self.report.say(text))
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
    use attractor::device::{AdapterChoice, DeviceOptions};
    use attractor::wgpu;

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
        let adapter = AdapterChoice::Name("llvmpipe".into());
        let options = DeviceOptions::default().backends(wgpu::Backends::VULKAN).adapter(adapter);
        let Ok(device) = pollster::block_on(Device::with_options(&options)) else {
            let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
            assert!(!required.contains("lavapipe"), "lavapipe is required and is not there");
            return eprintln!("SKIP: no lavapipe");
        };
        let mut start = device.tuning().unwrap();
        assert!(start.set("register_max_dim", 0) && start.set("register_min_macs", 0));
        let shape = LoadShape { name: "held", batch: 128, dim: 64, patterns: 256, sparse: false };
        let report = Report::begin(None, "tune", &[]).unwrap();
        let mut tuner = Tuner::new(device, start, 60, &[shape], report).unwrap();
        let found = tuner.search().unwrap();
        assert!(found.register_max_dim >= 64, "{:?}", differences(start, found));
        let confirmed = tuner.confirm(found).unwrap();
        assert_eq!(confirmed, found);
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
