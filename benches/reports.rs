//! Measures retrievals with reports, alternating with the same retrievals without:
//!
//! `cargo bench --locked --bench reports [-- cpu|vulkan [NAME]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, compared by cosine: 100,000 on the CPU engine, 16,384 on an adapter.

use std::hint::black_box;
use std::time::Instant;

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::retrieval::WeightsOf;
use attractor::wgpu::Backends;
use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use harness::Rng;

const DIM: usize = 384;
const ROUNDS: usize = 7;

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let place = args.first().map_or("cpu", String::as_str);
    let only = args.get(1).map_or("", String::as_str);
    let options = DeviceOptions::default().backends(Backends::VULKAN).software(SoftwareAdapters::Allow);
    let (device, patterns) = match place {
        "cpu" => (Device::cpu(), 100_000),
        _ => (pollster::block_on(Device::with_options(&options)).expect("a Vulkan adapter"), 16_384),
    };
    println!("{}, N = {patterns}, d = {DIM}, medians of {ROUNDS}", device.info());
    for (name, separation) in [
        ("topk 10", Separation::TopK { k: 10 }),
        ("softmax", Separation::Softmax),
        ("sparsemax", Separation::Sparsemax),
    ] {
        let mut memory = Memory::new(&device, DIM, Rule::new(Similarity::Cosine, separation, 20.0)).expect("a memory");
        memory.add(&Rng(1).vector(patterns * DIM)).expect("room for patterns");
        for batch in [64, 1] {
            measure(&memory, name, batch, only);
        }
    }
}

/// Prints, for each report, the median times of retrievals with it and without it, which alternate.
fn measure(memory: &Memory, name: &str, batch: usize, only: &str) {
    let queries = Rng(7).vector(batch * DIM);
    let plain = RetrieveOptions::default();
    let cases = [
        ("top 10", plain.clone().top(10)),
        ("statistics", plain.clone().statistics()),
        ("weights", plain.clone().weights(WeightsOf::All)),
    ];
    for (what, options) in cases {
        let row = format!("{name}, B {batch}, {what}");
        if !row.contains(only) {
            continue;
        }
        let time = |options| {
            let begun = Instant::now();
            black_box(memory.retrieve_blocking(&queries, options).expect("an answer"));
            1e3 * begun.elapsed().as_secs_f64()
        };
        // The first compiles kernels.
        let _ = (time(&plain), time(&options));
        let (without, with): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| (time(&plain), time(&options))).unzip();
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let (without, with) = (median(without), median(with));
        println!("{row:32} {with:9.2} ms, without {without:9.2} ms, {:.2} times", with / without);
    }
}
