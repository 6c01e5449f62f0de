//! `attractor family`: a case of the wider family from a file, computed on a device and compared.
//!
//! The harness runs the cases, as it does for the tests.

use std::path::PathBuf;

use attractor::Error;
use harness::family::{self, Comparison, Golden, Outcome, shape_text};
use serde_json::json;

use crate::args::TunedArgs;
use crate::failure::Failure;
use crate::ui::report::{JsonArgs, device_json};
use crate::ui::table::{Column, Table};
use crate::ui::terminal::wrap;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
\x20   attractor family --case tests/golden/family/dense_n4.safetensors

A case is a safetensors file with patterns, queries, what independent software made of them, and metadata `case`, a \
JSON object that says which system it is:

    classical Hopfield            iterations and states, equal
    dense associative memory      states by F z^n, equal
    resonator network             factors in order or together: iterations
                                  and states, or states after_K, equal
    torchhd.memory                hopfield equal, modern_hopfield and
                                  attention to 2e-5 of the largest
    torchhd.memory.SparseDistributed, torchhd.memory.Hopfield
                                  what is read, equal
    end-to-end memory network     answers, to 2e-5 of the largest
    CLOOB                         what is retrieved, to 1e-6
    Hopular retrieval             weighted labels, to 2e-5, and the accuracy

tests/golden/family/README.md describes tensors and metadata; make_cases.py beside it makes cases of any seed and size.

Exit status: 0 if all is right, 1 if something differs or the device fails, 2 for bad usage and for a file that is not \
such a case.";

/// The flags of `attractor family`.
#[derive(clap::Args, Debug)]
pub struct FamilyArgs {
    /// The case.
    #[arg(long, value_name = "F.safetensors")]
    case: PathBuf,
    #[command(flatten)]
    device: TunedArgs,
    #[command(flatten)]
    json: JsonArgs,
}

const COLUMNS: [Column; 5] = [
    Column::flexible("compared", 15, 20),
    Column::flexible("shape", 12, 20),
    Column::flexible("allowed", 15, 20),
    Column::fixed("differ", 9),
    Column::fixed("largest error", 13),
];

/// Runs the case, and prints what was compared.
pub fn run(args: &FamilyArgs) -> Result<(), Failure> {
    let report = args.json.begin("family", &[&args.case])?;
    let golden = Golden::read(&args.case).map_err(|failure| refused(failure, ""))?;
    let device = args.device.open()?;
    let info = device.info();
    let file = format!("{}: ", args.case.display());
    let outcome = family::run(&golden, &device).map_err(|failure| refused(failure, &file))?;
    report.set("device", device_json(&info));
    report.set("case", args.case.display().to_string().into());
    report.set("system", outcome.system.as_str().into());
    report.set("memories", outcome.memories.clone().into());
    report.set("right", outcome.is_right().into());
    for comparison in &outcome.comparisons {
        report.push("/compared", comparison_json(comparison));
    }
    let head = format!("{info}, driver {}, attractor {}\n", info.driver, env!("CARGO_PKG_VERSION"));
    report.say(&(wrap(&head) + &text(&outcome)))?;
    report.finish()?;
    match outcome.comparisons.iter().find(|comparison| !comparison.is_right()) {
        None => Ok(()),
        Some(wrong) => Err(Failure::Work(format!("{}: {} differs on {info}", args.case.display(), wrong.name))),
    }
}

/// What was compared, and whether it is right.
fn text(outcome: &Outcome) -> String {
    let mut text = wrap(&format!("{}\n", outcome.system));
    for memory in &outcome.memories {
        text += &wrap(&format!("{memory}\n"));
    }
    let table = Table::new(&COLUMNS);
    text += &table.header();
    for Comparison { name, shape, allowed, differing, largest, .. } in &outcome.comparisons {
        let (shape, allowed, largest) = (shape_text(shape), allowed.to_string(), format!("{largest:.2e}"));
        text += &table.row(&[name.clone(), shape, allowed, differing.to_string(), largest]);
    }
    for Comparison { name, first, .. } in &outcome.comparisons {
        if let Some(first) = first {
            text += &wrap(&format!("{name} differs, first at {first}\n"));
        }
    }
    if outcome.is_right() {
        text += "right\n";
    }
    text
}

fn comparison_json(comparison: &Comparison) -> serde_json::Value {
    let Comparison { name, shape, allowed, differing, first, largest } = comparison;
    let first = first.as_ref().map(|first| json!({ "at": first.at, "got": first.got, "expected": first.expected }));
    json!({
        "name": name, "shape": shape, "allowed": allowed.to_string(), "differing": differing, "first": first,
        "largest_error": largest, "right": comparison.is_right(),
    })
}

/// What is wrong with a case is bad usage; what a device cannot do is a failure.
fn refused(failure: family::Failure, file: &str) -> Failure {
    match failure {
        family::Failure::Case(why) => Failure::Usage(format!("{file}{why}")),
        family::Failure::Library(
            error @ (Error::Shape { .. } | Error::NotFinite { .. } | Error::Parameter { .. } | Error::Empty { .. }),
        ) => Failure::Usage(format!("{file}{error}")),
        family::Failure::Library(error) => error.into(),
    }
}
