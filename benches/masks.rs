//! Measures retrievals under masks, alternating with the same retrievals without:
//!
//! `cargo bench --locked --bench masks [-- cpu|vulkan [NAME]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, compared by cosine: 100,000 on the CPU engine, 16,384 on an adapter. A
//! mask keeps one pattern in a hundred: in a run of consecutive ones, or at random.

use std::hint::black_box;
use std::time::Instant;

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::wgpu::Backends;
use attractor::{Device, Mask, Memory, RetrieveOptions, Rule, Separation, Similarity};
use harness::Rng;

const DIM: usize = 384;
const ROUNDS: usize = 9;

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
        ("softmax", Separation::Softmax),
        ("sparsemax", Separation::Sparsemax),
        ("topk 10", Separation::TopK { k: 10 }),
    ] {
        let mut memory = Memory::new(&device, DIM, Rule::new(Similarity::Cosine, separation, 20.0)).expect("a memory");
        memory.add(&Rng(1).vector(patterns * DIM)).expect("room for patterns");
        for batch in [1, 64] {
            measure(&memory, name, batch, only);
        }
    }
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

/// Prints, for each mask, the median times of retrievals with it and without it, which alternate.
fn measure(memory: &Memory, name: &str, batch: usize, only: &str) {
    let queries = Rng(7).vector(batch * DIM);
    let plain = RetrieveOptions::default();
    for (what, mask) in [("1 % in runs", runs(memory.len())), ("1 % at random", random(memory.len()))] {
        let row = format!("{name}, B {batch}, {what}");
        if !row.contains(only) {
            continue;
        }
        let masked = plain.clone().mask(mask);
        let time = |options| {
            let begun = Instant::now();
            black_box(memory.retrieve_blocking(&queries, options).expect("an answer"));
            1e3 * begun.elapsed().as_secs_f64()
        };
        // The first compiles kernels.
        let _ = (time(&plain), time(&masked));
        let (without, with): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| (time(&plain), time(&masked))).unzip();
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let (without, with) = (median(without), median(with));
        println!("{row:32} {with:9.2} ms, without {without:9.2} ms, {:5.1} %", 100.0 * with / without);
    }
}
