//! `attractor verify`: whether a device computes what the mathematics says, case by case.
//!
//! The cases are those on which an implementation goes wrong: every similarity under every separation, each strategy of
//! the kernels at sizes that no tile divides, whether the plan would choose it there or not, stores in fewer bits,
//! masks, biases, clamps, windows, steps, lists that overflow. The tests run many more of them on software adapters;
//! here they meet the hardware and the driver of the user.

use std::fmt::Write;

use attractor::tuning::Tuning;
use attractor::wgpu::DeviceType;
use attractor::{Device, Error};

use crate::args::TunedArgs;
use crate::commands::tune::differences;
use crate::failure::Failure;
use crate::ui::progress;
use crate::ui::report::{JsonArgs, Report, device_json};
use crate::ui::table::{Column, Table};
use crate::ui::terminal::wrap;
use harness::checks::{Outcome, bits_of, checks};
use harness::network_checks;
use harness::trial;
use serde_json::json;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Every case is retrieved on the device and held against a reference in f64. The last column is the largest error as a \
share of its bound, epsilon max|v| (32 + sqrt N + 8 kappa) for each step, kappa being |beta| max_i sum_c |x_c k_ic|; \
above 1 is wrong. Networks of signs have to be equal, others within 2e-4.";

/// The flags of `attractor verify`.
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    device: TunedArgs,
    /// Hold this many random trials against the reference instead: rules, numbers of every size, masks, biases,
    /// reports.
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,
    /// The seed of the random trials: the same seed gives the same trials everywhere.
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "random")]
    seed: u64,
    /// The number of the first random trial.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "random")]
    first: usize,
    #[command(flatten)]
    json: JsonArgs,
}

const COLUMNS: [Column; 6] = [
    Column::flexible("case", 26, 34),
    Column::fixed("B", 4),
    Column::fixed("N", 6),
    Column::fixed("d", 5),
    Column::flexible("kernels", 16, 44),
    Column::flexible("share of the bound", 10, 18),
];

/// Verifies, and prints a table.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let report = args.json.begin("verify", &[])?;
    let device = args.device.open()?;
    report.set("device", device_json(&device.info()));
    match args.random {
        Some(count) => random(&device, args.seed, args.first, count, report),
        None => listed(&device, report),
    }
}

/// Holds the listed cases against the reference.
fn listed(device: &Device, report: Report) -> Result<(), Failure> {
    let info = device.info();
    let mut head = format!("{info}, driver {}, attractor {}\n", info.driver, env!("CARGO_PKG_VERSION"));
    let start = untuned(device);
    if let Some(tuning) = device.tuning().filter(|tuning| *tuning != start) {
        // Writing to a String cannot fail.
        let _ = writeln!(head, "tuned: {}", differences(start, tuning).join(", "));
    }
    let table = Table::new(&COLUMNS);
    report.say(&(wrap(&head) + &table.header()))?;
    let checks = checks();
    let networks = network_checks();
    let count = checks.len() + networks.len();
    let bar = progress::bar(count, "verifying");
    let mut tally = Tally::default();
    for check in &checks {
        let answered = check.ask(device).and_then(|asked| Ok((asked.answer(check)?, asked.told)));
        let bits = answered.as_ref().ok().map(|(got, _)| bits_of(got));
        let (outcome, kernels) = check.judge(device, answered)?;
        let case = &check.case;
        let size = [case.batch(), case.patterns(), case.dim];
        let row = tally.add(&report, Judged { what: &check.what, size, kernels, outcome, bits });
        bar.suspend(|| report.say(&table.row(&row)))?;
        bar.inc(1);
    }
    for check in &networks {
        let (outcome, bits) = match check.run(device) {
            Err(error @ Error::Unsupported { .. }) => (Outcome::Unsupported(error.to_string()), None),
            answered => answered.map(|(share, bits)| (Outcome::Share(share), Some(bits)))?,
        };
        let size = [check.case.batch(), check.case.patterns(), check.case.dim];
        let kernels = "network".to_owned();
        let row = tally.add(&report, Judged { what: check.what, size, kernels, outcome, bits });
        bar.suspend(|| report.say(&table.row(&row)))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Tally { wrong, unsupported, refused } = tally;
    let right = count - wrong.len() - unsupported - refused;
    report.set("right", right.into());
    report.set("count", count.into());
    report
        .say(&format!("{right} of {count} cases are right, {unsupported} not supported, {refused} out of range\n"))?;
    report.finish()?;
    match wrong.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Failure::Work(format!("{info}: {} cases are wrong: {first}", wrong.len()))),
    }
}

/// A case, and how it came out.
struct Judged<'a> {
    what: &'a str,
    /// Queries, patterns and coordinates.
    size: [usize; 3],
    kernels: String,
    outcome: Outcome,
    bits: Option<u64>,
}

/// How many cases came out how; those that are wrong by name.
#[derive(Default)]
struct Tally {
    wrong: Vec<String>,
    unsupported: usize,
    refused: usize,
}

impl Tally {
    /// Counts a case and reports it. Returns its row of the table.
    fn add(&mut self, report: &Report, judged: Judged<'_>) -> [String; 6] {
        let Judged { what, size: [batch, patterns, dim], kernels, outcome, bits } = judged;
        let (verdict, share, said) = match outcome {
            Outcome::Share(share) if share <= 1.0 => ("right", Some(share), format!("{share:.3}")),
            Outcome::Share(share) => {
                self.wrong.push(what.to_owned());
                ("wrong", Some(share), format!("{share:.3} WRONG"))
            }
            Outcome::Unsupported(why) => {
                self.unsupported += 1;
                ("unsupported", None, format!("not supported: {why}"))
            }
            Outcome::Refused => {
                self.refused += 1;
                ("refused", None, "refused: out of range".to_owned())
            }
        };
        let count = |count: usize| count.to_string();
        let row = [what.to_owned(), count(batch), count(patterns), count(dim), kernels.clone(), said];
        report.push(
            "/cases",
            json!({
                "case": what, "batch": batch, "patterns": patterns, "dim": dim, "kernels": kernels,
                "verdict": verdict, "share_of_bound": share, "bits": bits.map(|bits| format!("{bits:016x}")),
            }),
        );
        row
    }
}

/// At most so many wrong trials are shrunk and printed.
const SHRUNK: usize = 5;

/// Runs random trials, and prints those that are wrong as Rust.
fn random(device: &Device, seed: u64, first: usize, count: usize, report: Report) -> Result<(), Failure> {
    let end = first
        .checked_add(count)
        .ok_or_else(|| Failure::Usage(format!("--first {first} and --random {count} are too many together")))?;
    let bar = progress::bar(count, "verifying");
    // A trial that panics is wrong, and says so below.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let tally = trial::run(device, seed, first..end, SHRUNK, || bar.inc(1));
    std::panic::set_hook(hook);
    bar.finish_and_clear();
    let info = device.info();
    let mut text = format!("{info}, driver {}, attractor {}\n", info.driver, env!("CARGO_PKG_VERSION"));
    for (number, why, shrunk) in &tally.wrong {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "trial {number} of seed {seed} is WRONG: {why}");
        if let Some(shrunk) = shrunk {
            let _ = writeln!(text, "{shrunk}");
        }
    }
    let (right, refused, wrong) = (tally.right, tally.refused, tally.wrong.len());
    let _ = writeln!(text, "{right} of {count} trials are right, {refused} were refused, {wrong} are wrong");
    report.set("seed", seed.into());
    report.set("first", first.into());
    report.set("count", count.into());
    report.set("right", right.into());
    report.set("refused", refused.into());
    for (number, why, shrunk) in &tally.wrong {
        let shrunk = shrunk.as_ref().map(ToString::to_string);
        report.push("/wrong", json!({ "number": number, "why": why, "shrunk": shrunk }));
    }
    report.say(&text)?;
    report.finish()?;
    match tally.wrong.first() {
        None => Ok(()),
        Some((number, why, _)) => {
            Err(Failure::Work(format!("{info}: {wrong} trials are wrong: number {number} of seed {seed}: {why}")))
        }
    }
}

/// What a device of this kind starts with.
fn untuned(device: &Device) -> Tuning {
    let kind = device.wgpu().map(|(device, _)| device.adapter_info().device_type);
    Tuning::of(kind.unwrap_or(DeviceType::Other))
}
