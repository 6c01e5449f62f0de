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
    let (mut wrong, mut unsupported, mut refused) = (Vec::new(), 0, 0);
    for check in &checks {
        let answered = check.ask(device).and_then(|asked| Ok((asked.answer(check)?, asked.told)));
        let bits = answered.as_ref().ok().map(|(got, _)| format!("{:016x}", bits_of(got)));
        let (outcome, kernels) = check.judge(device, answered)?;
        let (verdict, share, said) = match outcome {
            Outcome::Share(share) if share <= 1.0 => ("right", Some(share), format!("{share:.3}")),
            Outcome::Share(share) => {
                wrong.push(check.what.as_str());
                ("wrong", Some(share), format!("{share:.3} WRONG"))
            }
            Outcome::Unsupported(why) => {
                unsupported += 1;
                ("unsupported", None, format!("not supported: {why}"))
            }
            Outcome::Refused => {
                refused += 1;
                ("refused", None, "refused: out of range".to_owned())
            }
        };
        let case = &check.case;
        report.push(
            "/cases",
            json!({
                "case": check.what, "batch": case.batch(), "patterns": case.patterns(), "dim": case.dim,
                "kernels": kernels, "verdict": verdict, "share_of_bound": share, "bits": bits,
            }),
        );
        let count = |count: usize| count.to_string();
        let cells = [check.what.clone(), count(case.batch()), count(case.patterns()), count(case.dim), kernels, said];
        bar.suspend(|| report.say(&table.row(&cells)))?;
        bar.inc(1);
    }
    for check in &networks {
        let answered = match check.run(device) {
            Err(Error::Unsupported { .. }) => None,
            answered => Some(answered?),
        };
        let (verdict, said) = match answered {
            Some((share, _)) if share <= 1.0 => ("right", format!("{share:.3}")),
            Some((share, _)) => {
                wrong.push(check.what);
                ("wrong", format!("{share:.3} WRONG"))
            }
            None => {
                unsupported += 1;
                ("unsupported", "not supported".to_owned())
            }
        };
        let (batch, dim) = (check.case.batch(), check.case.dim);
        let patterns: usize = check.case.steps.iter().map(|step| step.keys.len() / dim).sum();
        report.push(
            "/cases",
            json!({
                "case": check.what, "batch": batch, "patterns": patterns, "dim": dim, "kernels": "network",
                "verdict": verdict, "share_of_bound": answered.map(|(share, _)| share),
                "bits": answered.map(|(_, bits)| format!("{bits:016x}")),
            }),
        );
        let count = |count: usize| count.to_string();
        let cells = [check.what.to_owned(), count(batch), count(patterns), count(dim), "network".to_owned(), said];
        bar.suspend(|| report.say(&table.row(&cells)))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
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
