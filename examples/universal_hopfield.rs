//! The image retrieval of Universal Hopfield Networks (Millidge et al. 2022): half-hidden MNIST digits under four
//! similarities, with the best match taken whole (`topk` with `k = 1`).
//!
//! Pixels are in 0..1. Run `r` stores images `1000 r .. 1000 r + N` and asks with the first `min(N, 200)` of them,
//! lower half set to 0. A digit is recalled where its squared difference to the whole image is at most 50. Rates are
//! means of 5 runs.
//!
//! ```sh
//! cargo run --release --example universal_hopfield -- [--device cpu|vulkan|gl] [--software] [--images FILE]
//! ```

mod common;

use std::process::ExitCode;

use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use common::{Arguments, Digits, PIXELS, Result};

/// Rates of the paper's protocol for `N = 1,000` and `N = 100`.
const PUBLISHED: [(Similarity, [f64; 2]); 4] = [
    (Similarity::Dot, [0.419, 0.746]),
    (Similarity::Cosine, [0.993, 0.998]),
    (Similarity::Euclidean, [0.568, 0.756]),
    (Similarity::Manhattan, [0.740, 0.862]),
];
const SIZES: [usize; 2] = [1000, 100];
const RUNS: usize = 5;
/// Images from one run's first to the next one's.
const STRIDE: usize = 1000;

fn main() -> ExitCode {
    common::run(|| {
        let arguments = Arguments::read("--images", "ATTRACTOR_MNIST")?;
        let digits = Digits::load(arguments.data.as_deref())?;
        let runs = if digits.complete { RUNS } else { 1 };
        println!("{:<12} {:>6} {:>9} {:>9} {:>9}", "similarity", "N", "measured", "published", "apart");
        let mut differ = 0;
        for (similarity, published) in PUBLISHED {
            for (patterns, published) in SIZES.into_iter().zip(published) {
                let mut sum = 0.0;
                for run in 0..runs {
                    sum += recalled(&arguments.device, &digits, similarity, run * STRIDE, patterns)?;
                }
                print!("{:<12} {patterns:>6} ", format!("{similarity:?}").to_lowercase());
                differ += usize::from(common::differs(sum / runs as f64, published));
            }
        }
        common::conclude(differ, digits.complete)
    })
}

/// The rate of one run.
fn recalled(device: &Device, digits: &Digits, similarity: Similarity, first: usize, patterns: usize) -> Result<f64> {
    if first + patterns > digits.len() {
        return Err(format!("the protocol takes images up to {}, there are {}", first + patterns, digits.len()).into());
    }
    let stored = digits.rows(first, patterns, |byte| byte / 255.0);
    // One pattern takes all the weight whatever beta is, as long as it is above 0.
    let mut memory = Memory::new(device, PIXELS, Rule::new(similarity, Separation::TopK { k: 1 }, 1.0))?;
    memory.add(&stored)?;
    let whole = &stored[..patterns.min(200) * PIXELS];
    let mut queries = whole.to_vec();
    common::hide_lower_half(&mut queries);
    let got = memory.retrieve_blocking(&queries, &RetrieveOptions::default())?;
    Ok(common::rate(&got.output, whole, |got, whole| {
        got.iter().zip(whole).map(|(g, w)| f64::from(g - w).powi(2)).sum::<f64>() <= 50.0
    }))
}
