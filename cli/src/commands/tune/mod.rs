//! `attractor tune`: which settings suit this adapter, by measurement.
//!
//! One setting after the other is moved from its default as long as that wins. Two tunings are compared in rounds: each
//! shape on which their plans differ is timed under both, one right after the other, and who comes first changes from
//! round to round. So what slows the machine for longer than a moment slows both, and a ratio is of one moment.

mod load;
mod search;
mod stopwatch;

use std::path::PathBuf;

use attractor::device::user_cache_folder;
use attractor::tuning::Tuning;
use harness::workloads::TUNED_SHAPES;

use crate::args::{DeviceArgs, at_least_one};
use crate::failure::Failure;
use crate::ui::report::{JsonArgs, device_json};
use crate::ui::terminal::wrap;
use search::Tuner;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Retrievals of a few shapes are timed under other settings than the defaults, by the adapter's timestamps where it \
has them. A setting is taken where it wins by more than the noise: the lower quartile of its rounds, each a \
geometric mean over the shapes that it changes, must be ahead by more than half the spread (quartiles) of the \
defaults against themselves, 2 % at least, and on no shape may it be behind by as much. What is found is then \
measured again as a whole, and has to win again. Every answer is checked against that under the defaults.

The settings are kept in the user's cache folder ($XDG_CACHE_HOME/attractor or ~/.cache/attractor, on macOS \
~/Library/Caches/attractor, on Windows %LOCALAPPDATA%\\attractor; ATTRACTOR_CACHE_DIR overrides it) for this \
adapter, its driver and this version of attractor, and other commands use them unless told --tuning none.";

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
    #[command(flatten)]
    json: JsonArgs,
}

/// Tunes, and keeps what was found.
pub fn run(args: &TuneArgs) -> Result<(), Failure> {
    let device = args.device.open()?;
    let Some(start) = device.tuning() else {
        let why = "the CPU engine has no settings to tune, and no other device is asked for or found (--software \
                   takes a software adapter)";
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
    let report = args.json.begin("tune", &[&path])?;
    report.set("device", device_json(&device.info()));
    let mut tuner = Tuner::new(device, start, args.seconds, &TUNED_SHAPES, report)?;
    let found = tuner.search()?;
    let confirmed = tuner.confirm(found)?;
    let by = if tuner.has_timestamps() { "its timestamps" } else { "the time until it is through" };
    let (noise, tried) = tuner.effort();
    let (device, report) = tuner.finish();
    confirmed.write(&path, &device)?;

    let outcome = match differences(start, confirmed) {
        moved if !moved.is_empty() => moved.join(", "),
        _ if found == start => "the defaults: nothing else won by more than the noise".into(),
        _ => format!("the defaults: {} did not win again", differences(start, found).join(", ")),
    };
    let to_be = if args.out.is_some() { format!(", for --tuning {}", path.display()) } else { String::new() };
    report.set("noise", noise.into());
    report.set("settings", confirmed.settings().map(|(name, value)| (name.to_owned(), value)).collect());
    report.set("file", path.display().to_string().into());
    report.say(&wrap(&format!(
        "\n{}, by {by}\nnoise {:.1} %, {tried} settings tried\n{outcome}\nwrote {}{to_be}\n",
        device.info(),
        100.0 * noise,
        path.display(),
    )))?;
    report.finish()
}

/// The settings that differ, in words.
pub fn differences(start: Tuning, now: Tuning) -> Vec<String> {
    let pairs = start.settings().zip(now.settings()).filter(|(start, now)| start != now);
    pairs.map(|((name, was), (_, now))| format!("{name} {now} instead of {was}")).collect()
}
