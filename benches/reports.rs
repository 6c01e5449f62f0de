//! Measures retrievals with reports, alternating with the same retrievals without:
//!
//! `cargo bench --locked --bench reports [-- cpu|vulkan [NAME]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, compared by cosine: 100,000 on the CPU engine, 16,384 on an adapter.

use std::hint::black_box;

use attractor::retrieval::WeightsOf;
use attractor::{Memory, RetrieveOptions, Separation};
use harness::Rng;
use harness::measure::Result;
use harness::measure::beside::{DIM, Place, medians};

const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let place = Place::from_args(ROUNDS)?;
    for (name, separation) in [
        ("topk 10", Separation::TopK { k: 10 }),
        ("softmax", Separation::Softmax),
        ("sparsemax", Separation::Sparsemax),
    ] {
        let memory = place.memory(separation)?;
        for batch in [64, 1] {
            measure(&place, &memory, name, batch);
        }
    }
    Ok(())
}

/// Prints, for each report, the median times of retrievals with it and without it.
fn measure(place: &Place, memory: &Memory, name: &str, batch: usize) {
    let queries = Rng(7).vector(batch * DIM);
    let retrieve =
        |options: &RetrieveOptions| drop(black_box(memory.retrieve_blocking(&queries, options).expect("an answer")));
    let plain = RetrieveOptions::default();
    let cases = [
        ("top 10", plain.clone().top(10)),
        ("statistics", plain.clone().statistics()),
        ("weights", plain.clone().weights(WeightsOf::All)),
    ];
    for (what, options) in cases {
        let row = format!("{name}, B {batch}, {what}");
        if place.measures(&row) {
            let [without, with] = medians(ROUNDS, [&|| retrieve(&plain), &|| retrieve(&options)]);
            println!("{row:32} {with:9.2} ms, without {without:9.2} ms, {:.2} times", with / without);
        }
    }
}
