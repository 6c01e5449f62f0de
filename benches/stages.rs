//! The CPU engine's stages over one tile of patterns, on one core: scores, weights and weighted sums, for a panel of
//! queries and for one query that streams. Each is checked before it is timed.

use std::hint::black_box;

use attractor::internals::Stages;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use harness::rng::normal;

/// Compares the tile's answers with plain sums.
fn check(dim: usize, one: bool, numbers: &[f32]) {
    let mut stages = Stages::new(dim, one, numbers);
    let (queries, patterns) = stages.shape();
    let beta = 1.0 / (dim as f32).sqrt();
    let number = |i: usize| f64::from(numbers[i % numbers.len()]);
    let (x, k) = (|q: usize, c: usize| number(q * dim + c), |t: usize, c: usize| number((queries + t) * dim + c));
    let (query, column) = (queries - 1, dim - 1);
    let scores: Vec<f64> =
        (0..patterns).map(|t| f64::from(beta) * (0..dim).map(|c| x(query, c) * k(t, c)).sum::<f64>()).collect();
    stages.similarity(beta);
    for (t, expected) in scores.iter().enumerate() {
        assert!((f64::from(stages.score(query, t)) - expected).abs() < 1e-4, "score {t}");
    }
    let max = scores.iter().fold(f64::NEG_INFINITY, |most, z| most.max(*z));
    let weights: Vec<f64> = scores.iter().map(|z| (z - max).exp()).collect();
    stages.separation();
    for (t, expected) in weights.iter().enumerate() {
        assert!((f64::from(stages.score(query, t)) - expected).abs() < 1e-4, "weight {t}");
    }
    stages.projection();
    let mean = weights.iter().enumerate().map(|(t, w)| w * k(t, column)).sum::<f64>() / weights.iter().sum::<f64>();
    assert!((stages.mean(query, column) - mean).abs() < 1e-4, "mean");
}

fn stages(criterion: &mut Criterion) {
    let numbers = normal(1, 1 << 20);
    for (dim, one) in [(64, false), (128, false), (512, false), (64, true), (128, true)] {
        check(dim, one, &numbers);
        let mut stages = Stages::new(dim, one, &numbers);
        let (queries, patterns) = stages.shape();
        let mut group = criterion.benchmark_group(format!("B={queries} N={patterns} d={dim}"));
        // Multiply-adds of a product; scores of the separation.
        group.throughput(Throughput::Elements((queries * patterns * dim) as u64));
        group.bench_function("similarity", |bench| bench.iter(|| black_box(&mut stages).similarity(0.1)));
        // Weights are scores, too, so that the separation can be done again and again.
        group.bench_function("projection", |bench| bench.iter(|| black_box(&mut stages).projection()));
        group.throughput(Throughput::Elements((queries * patterns) as u64));
        group.bench_function("separation", |bench| bench.iter(|| black_box(&mut stages).separation()));
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
