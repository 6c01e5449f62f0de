//! Whole retrievals of the CPU engine at the project's work sizes. Sampled answers are checked against the reference
//! before anything is timed.

use std::hint::black_box;
use std::time::Duration;

use attractor::reference::Problem;
use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../src/bin/attractor/bench/numbers.rs"]
mod numbers;
use numbers::normal;

/// Name, queries, patterns, dimensions, separation. A sixteenth of the patterns where the name says so.
const SIZES: [(&str, usize, usize, usize, Separation); 7] = [
    ("S1/16", 1, 1 << 18, 128, Separation::Softmax),
    ("S2/16", 8, 1 << 18, 128, Separation::Softmax),
    ("S3", 256, 16_384, 64, Separation::Softmax),
    ("S5/16", 1024, 1024, 512, Separation::Softmax),
    ("S6/16 sparsemax", 64, 1 << 16, 64, Separation::Sparsemax),
    ("S6/16 entmax 1.5", 64, 1 << 16, 64, Separation::Entmax { alpha: 1.5 }),
    ("S7", 1, 10_000, 128, Separation::Softmax),
];

fn retrievals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retrieve");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for (name, batch, patterns, dim, separation) in SIZES {
        let rule = Rule::new(Similarity::Dot, separation, 1.0 / (dim as f32).sqrt());
        let (keys, queries) = (normal(1, patterns * dim), normal(2, batch * dim));
        let mut memory = Memory::new(&Device::cpu(), dim, rule).unwrap();
        memory.add(&keys).unwrap();
        let options = RetrieveOptions::default();
        let retrieve = || memory.retrieve_with_blocking(&queries, &options).unwrap();
        let got = retrieve();
        for q in [0, batch - 1] {
            let expected = Problem::new(rule, dim, &keys).retrieve(&queries[q * dim..(q + 1) * dim], 1);
            let worst = got.output(q).iter().zip(&expected.output).map(|(y, e)| (f64::from(*y) - e).abs());
            let worst = worst.fold(0.0, f64::max);
            assert!(worst < 1e-4, "{name} query {q} is off the reference by {worst:e}");
        }
        group.throughput(Throughput::Elements((4 * batch * patterns * dim) as u64));
        group.bench_function(name, |bench| bench.iter(|| black_box(retrieve())));
    }
    group.finish();
}

criterion_group!(benches, retrievals);
criterion_main!(benches);
