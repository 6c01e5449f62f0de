//! The image retrieval of Hopfield-Fenchel-Young networks (Santos et al. 2024): half-hidden MNIST digits under softmax
//! and two sparse rules, at a temperature where softmax still tells patterns apart and at one where it does not.
//!
//! Pixels are in -1..1. Run `r` stores images `1024 r .. 1024 r + 1024` and asks with all of them, lower half set to 0,
//! in 5 updates. A digit is recalled where its cosine with the whole image is above 0.9. Rates are means of 5 runs.
//!
//! ```sh
//! cargo run --release --example fenchel_young -- [--device cpu|vulkan|gl] [--software] [--images FILE]
//! ```

mod common;

use std::process::ExitCode;

use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use common::{Arguments, Digits, PIXELS, Result};

/// A separation's name, itself, and its published rate.
type Row = (&'static str, Separation, f64);

/// Rates of the paper's protocol, by inverse temperature.
const PUBLISHED: [(f32, [Row; 3]); 2] = [
    (
        0.1,
        [
            ("softmax", Separation::Softmax, 0.679),
            ("entmax 1.5", Separation::Entmax { alpha: 1.5 }, 1.0),
            ("sparsemax", Separation::Sparsemax, 1.0),
        ],
    ),
    (
        0.01,
        [
            ("softmax", Separation::Softmax, 0.194),
            ("entmax 1.5", Separation::Entmax { alpha: 1.5 }, 0.244),
            ("sparsemax", Separation::Sparsemax, 0.777),
        ],
    ),
];
/// Images of a run, and from one run's first to the next one's.
const PATTERNS: usize = 1024;
const RUNS: usize = 5;
const STEPS: u32 = 5;

fn main() -> ExitCode {
    common::run(|| {
        let arguments = Arguments::read("--images", "ATTRACTOR_MNIST")?;
        let digits = Digits::load(arguments.data.as_deref())?;
        let (runs, patterns) = if digits.complete { (RUNS, PATTERNS) } else { (1, PATTERNS.min(digits.len())) };
        println!("{:<6} {:<12} {:>6} {:>9} {:>9} {:>9}", "beta", "separation", "N", "measured", "published", "apart");
        let mut differ = 0;
        for (beta, rules) in PUBLISHED {
            for (name, separation, published) in rules {
                let rule = Rule::new(Similarity::Dot, separation, beta);
                let mut sum = 0.0;
                for run in 0..runs {
                    sum += recalled(&arguments.device, &digits, rule, run * PATTERNS, patterns)?;
                }
                print!("{beta:<6} {name:<12} {patterns:>6} ");
                differ += usize::from(common::differs(sum / runs as f64, published));
            }
        }
        common::conclude(differ, digits.complete)
    })
}

/// The rate of one run.
fn recalled(device: &Device, digits: &Digits, rule: Rule, first: usize, patterns: usize) -> Result<f64> {
    let stored = digits.rows(first, patterns, |byte| byte / 127.5 - 1.0);
    let mut memory = Memory::new(device, PIXELS, rule)?;
    memory.add(&stored)?;
    let mut queries = stored.clone();
    common::hide_lower_half(&mut queries);
    let got = memory.retrieve_blocking(&queries, &RetrieveOptions::steps(STEPS))?;
    Ok(common::rate(&got.output, &stored, |got, whole| cosine(got, whole) > 0.9))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}
