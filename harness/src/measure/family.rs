//! Systems of the wider family that are measured, again and again: made, judged by plain sums, timed.

use std::hint::black_box;

use attractor::rule::Zero;
use attractor::{Device, Memory, MemoryOptions, Patterns, Precision, RetrieveOptions, Rule, Separation, Similarity};

use super::Result;
use crate::clock::repeat;
use crate::network_case::NetworkCase;
use crate::rng::Rng;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub enum FamilyLoad {
    /// A resonator network of `factors` bipolar codebooks of `rows`, all factors together, `steps` iterations.
    Resonator {
        /// Problems.
        batch: usize,
        /// Coordinates.
        dim: usize,
        /// Codebooks.
        factors: usize,
        /// Vectors of a codebook.
        rows: usize,
        /// Iterations.
        steps: u32,
    },
    /// `steps` updates of a classical Hopfield network.
    Hopfield {
        /// States.
        batch: usize,
        /// Coordinates.
        dim: usize,
        /// Patterns.
        patterns: usize,
        /// Updates.
        steps: u32,
    },
    /// Reads of a sparse distributed memory.
    SparseDistributed {
        /// Queries.
        batch: usize,
        /// Coordinates of an address and of a value.
        dim: usize,
        /// Addresses.
        patterns: usize,
        /// The least dot product that is read.
        threshold: f32,
        /// How addresses and values are stored.
        precision: Precision,
    },
    /// One linear read of random patterns, or one of softmax at `beta = 1/sqrt(d)`.
    Read {
        /// Queries.
        batch: usize,
        /// Coordinates.
        dim: usize,
        /// Patterns.
        patterns: usize,
        /// Whether weights are the scores themselves.
        linear: bool,
    },
}

/// What is asked: queries of the only memory, or a network of all.
enum Asked {
    Queries(Vec<f32>),
    Network(NetworkCase),
}

/// Memories, and what they are asked.
pub struct FamilyMeasurement {
    memories: Vec<Memory>,
    asked: Asked,
    options: RetrieveOptions,
    load: FamilyLoad,
}

/// `a` and `b`, equal where all that is summed is whole numbers.
fn agree(what: &str, got: &[f32], expected: &[f32]) -> Result<()> {
    match got.iter().zip(expected).position(|(got, expected)| got != expected) {
        None if got.len() == expected.len() => Ok(()),
        at => Err(format!("{what}: wrong at {at:?}").into()),
    }
}

/// `sum_i <k_i, x> k_i - shift x`.
fn linear(keys: &[f32], x: &[f32], shift: f32) -> Vec<f32> {
    let mut sums: Vec<f32> = x.iter().map(|x| -shift * x).collect();
    for key in keys.chunks_exact(x.len()) {
        let score: f32 = key.iter().zip(x).map(|(k, x)| k * x).sum();
        sums.iter_mut().zip(key).for_each(|(sum, k)| *sum += score * k);
    }
    sums
}

impl FamilyMeasurement {
    /// Stores the patterns, and judges one answer of one step.
    pub fn prepare(load: FamilyLoad, on: &Device) -> Result<Self> {
        let mut rng = Rng(1);
        let job = match load {
            FamilyLoad::Resonator { batch, dim, factors, rows, steps } => {
                let case = NetworkCase::resonator(1, dim, (factors, rows), batch, Zero::Zero, true);
                let memories = case.memories(on)?;
                let first = case.retrieve(&memories, &RetrieveOptions::steps(1))?;
                let mut query = case.starts[0][..dim].to_vec();
                for start in &case.starts[2..] {
                    query.iter_mut().zip(start).for_each(|(x, y)| *x *= y);
                }
                let expected: Vec<f32> = linear(&case.steps[0].keys, &query, 0.0)
                    .iter()
                    .map(|h| if *h == 0.0 { 0.0 } else { h.signum() })
                    .collect();
                let (_, vectors) = case.network(&memories);
                let first = first.state(vectors[1])[..dim].to_vec();
                agree("resonator", &first, &expected)?;
                Self { memories, asked: Asked::Network(case), options: RetrieveOptions::steps(steps), load }
            }
            FamilyLoad::Hopfield { batch, dim, patterns, steps } => {
                let keys = rng.signs(patterns * dim);
                let mut queries = Vec::with_capacity(batch * dim);
                for b in 0..batch {
                    let row = &keys[b % patterns * dim..][..dim];
                    queries.extend(row.iter().map(|k| if rng.once_in(10) { -k } else { *k }));
                }
                let mut memory = Memory::new(on, dim, Rule::classical_hopfield())?;
                memory.add(&keys)?;
                let first = memory.retrieve_blocking(&queries[..dim], &RetrieveOptions::steps(1))?;
                let local = linear(&keys, &queries[..dim], patterns as f32);
                let kept = local.iter().zip(&queries).map(|(h, x)| if *h == 0.0 { *x } else { h.signum() });
                agree("hopfield", &first.state, &kept.collect::<Vec<_>>())?;
                Self {
                    memories: vec![memory],
                    asked: Asked::Queries(queries),
                    options: RetrieveOptions::steps(steps),
                    load,
                }
            }
            FamilyLoad::SparseDistributed { batch, dim, patterns, threshold, precision } => {
                let keys = rng.signs(patterns * dim);
                let values: Vec<f32> = (0..patterns * dim).map(|_| rng.below(7) as f32 - 3.0).collect();
                let queries = rng.signs(batch * dim);
                let mut memory = MemoryOptions::new(dim, Rule::sparse_distributed(threshold))
                    .value_dim(dim)
                    .precision(precision)
                    .build(on)?;
                memory.add(Patterns::new(&keys).values(&values))?;
                let first = memory.retrieve_blocking(&queries[..dim], &RetrieveOptions::default())?;
                let mut expected = vec![0.0; dim];
                for (key, value) in keys.chunks_exact(dim).zip(values.chunks_exact(dim)) {
                    if key.iter().zip(&queries).map(|(k, x)| k * x).sum::<f32>() >= threshold {
                        expected.iter_mut().zip(value).for_each(|(sum, v)| *sum += v);
                    }
                }
                agree("sparse distributed memory", &first.output, &expected)?;
                Self {
                    memories: vec![memory],
                    asked: Asked::Queries(queries),
                    options: RetrieveOptions::default(),
                    load,
                }
            }
            FamilyLoad::Read { batch, dim, patterns, linear: is_linear } => {
                let (keys, queries) = (rng.vector(patterns * dim), rng.vector(batch * dim));
                let beta = 1.0 / (dim as f32).sqrt();
                let separation = if is_linear { Separation::Linear } else { Separation::Softmax };
                let mut memory = Memory::new(on, dim, Rule::new(Similarity::Dot, separation, beta))?;
                memory.add(&keys)?;
                let first = memory.retrieve_blocking(&queries[..dim], &RetrieveOptions::default())?;
                if is_linear {
                    let expected: Vec<f32> = linear(&keys, &queries[..dim], 0.0).iter().map(|sum| beta * sum).collect();
                    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    let off = first.output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    if off > 1e-3 * largest {
                        return Err(format!("a linear read is off by {off}").into());
                    }
                }
                Self {
                    memories: vec![memory],
                    asked: Asked::Queries(queries),
                    options: RetrieveOptions::default(),
                    load,
                }
            }
        };
        Ok(job)
    }

    /// What [`FamilyLoad`] needs at least: operations, and bytes of patterns read once.
    pub fn work(&self) -> (f64, f64) {
        let read = |batch: usize, dim: usize, patterns: usize| 4.0 * batch as f64 * dim as f64 * patterns as f64;
        let bytes = |dim: usize, patterns: usize| 4.0 * dim as f64 * patterns as f64;
        match self.load {
            FamilyLoad::Resonator { batch, dim, factors, rows, steps } => {
                let each = f64::from(steps) * factors as f64;
                (each * read(batch, dim, rows), factors as f64 * bytes(dim, rows))
            }
            FamilyLoad::Hopfield { batch, dim, patterns, steps } => {
                (f64::from(steps) * read(batch, dim, patterns), bytes(dim, patterns))
            }
            // Few values are read.
            FamilyLoad::SparseDistributed { batch, dim, patterns, precision, .. } => {
                let share = if precision == Precision::F32 { 1.0 } else { 0.25 };
                (0.5 * read(batch, dim, patterns), share * bytes(dim, patterns))
            }
            FamilyLoad::Read { batch, dim, patterns, .. } => (read(batch, dim, patterns), bytes(dim, patterns)),
        }
    }

    /// Runs for about `seconds`; the seconds of each.
    pub fn time(&self, seconds: f64) -> Result<Vec<f64>> {
        repeat(seconds, || {
            match &self.asked {
                Asked::Network(case) => drop(black_box(case.retrieve(&self.memories, &self.options)?)),
                Asked::Queries(queries) => {
                    drop(black_box(self.memories[0].retrieve_blocking(queries, &self.options)?));
                }
            }
            Ok(())
        })
    }
}
