//! Measures retrievals under masks, alternating with the same retrievals without:
//!
//! `cargo bench --locked --bench masks [-- cpu|vulkan [NAME]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, compared by cosine: 100,000 on the CPU engine, 16,384 on an adapter. A
//! mask keeps one pattern in a hundred: in a run of consecutive ones, or at random.

use std::hint::black_box;

use attractor::{Mask, Memory, RetrieveOptions, Separation};
use harness::Rng;
use harness::measure::Result;
use harness::measure::beside::{DIM, Place, medians};

const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let place = Place::from_args(ROUNDS)?;
    for (name, separation) in [
        ("softmax", Separation::Softmax),
        ("sparsemax", Separation::Sparsemax),
        ("topk 10", Separation::TopK { k: 10 }),
    ] {
        let memory = place.memory(separation)?;
        for batch in [1, 64] {
            measure(&place, &memory, name, batch);
        }
    }
    Ok(())
}

/// One run of a hundredth of all patterns.
fn runs(patterns: usize) -> Mask {
    let run = patterns / 3..patterns / 3 + patterns / 100;
    Mask::keep(&(0..patterns).map(|i| run.contains(&i)).collect::<Vec<_>>())
}

/// A hundredth of all patterns, anywhere.
fn random(patterns: usize) -> Mask {
    let numbers = Rng(3).vector(patterns);
    let mut order: Vec<usize> = (0..patterns).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let mut flags = vec![false; patterns];
    order[..patterns / 100].iter().for_each(|i| flags[*i] = true);
    Mask::keep(&flags)
}

/// Prints, for each mask, the median times of retrievals with it and without it.
fn measure(place: &Place, memory: &Memory, name: &str, batch: usize) {
    let queries = Rng(7).vector(batch * DIM);
    let retrieve =
        |options: &RetrieveOptions| drop(black_box(memory.retrieve_blocking(&queries, options).expect("an answer")));
    let plain = RetrieveOptions::default();
    for (what, mask) in [("1 % in runs", runs(memory.len())), ("1 % at random", random(memory.len()))] {
        let row = format!("{name}, B {batch}, {what}");
        if place.measures(&row) {
            let masked = plain.clone().mask(mask);
            let [without, with] = medians(ROUNDS, [&|| retrieve(&plain), &|| retrieve(&masked)]);
            println!("{row:32} {with:9.2} ms, without {without:9.2} ms, {:5.1} %", 100.0 * with / without);
        }
    }
}
