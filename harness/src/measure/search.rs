//! One search that is measured, again and again: made, judged by plain loops, timed.

use std::hint::black_box;

use attractor::reference::similarity;
use attractor::{Device, Hits, Memory, MemoryOptions, Precision, RetrieveOptions, Rule, Separation, Similarity};

use super::Result;
use crate::clock::repeat;
use crate::rng::normal;

/// A search of the nearest of `patterns` random patterns by cosine similarity.
#[derive(Clone, Copy, Debug)]
pub struct SearchLoad {
    /// Queries.
    pub batch: usize,
    /// Patterns.
    pub patterns: usize,
    /// Coordinates.
    pub dim: usize,
    /// Patterns that are found for each query.
    pub top: usize,
    /// How patterns are stored.
    pub precision: Precision,
    /// Whether it is a retrieval by top-k instead, without a report: the work without what a search tells.
    pub plain: bool,
}

/// A memory and its queries.
pub struct SearchMeasurement {
    memory: Memory,
    queries: Vec<f32>,
    load: SearchLoad,
}

impl SearchMeasurement {
    /// Stores the patterns, searches once, and judges the ranks of three queries.
    pub fn prepare(load: SearchLoad, on: &Device) -> Result<Self> {
        let SearchLoad { batch, patterns, dim, top, precision, .. } = load;
        let (keys, queries) = (normal(1, patterns * dim), normal(2, batch * dim));
        let rule = Rule::new(Similarity::Cosine, Separation::TopK { k: top }, 10.0);
        let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(on)?;
        memory.add(&keys)?;
        let job = Self { memory, queries, load };
        let hits = job.memory.search_blocking(&job.queries, top)?;
        for b in [0, batch / 2, batch - 1] {
            job.judge(&keys, &hits, b)?;
        }
        Ok(job)
    }

    /// Ranks of a store in fewer bits are judged by what rounding leaves open.
    fn judge(&self, keys: &[f32], hits: &Hits, b: usize) -> Result<()> {
        let dim = self.load.dim;
        let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|x| f64::from(*x)).collect() };
        let query = wide(&self.queries[b * dim..][..dim]);
        let mut falling: Vec<f64> =
            keys.chunks_exact(dim).map(|key| similarity(Similarity::Cosine, &query, &wide(key))).collect();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        let within = match self.load.precision {
            Precision::F32 | Precision::I8Exact => 1e-5,
            _ => 2e-2,
        };
        let off = hits.of(b).zip(&falling).map(|((_, got), expected)| (f64::from(got) - expected).abs());
        match off.fold(0.0, f64::max) {
            most if most <= within => Ok(()),
            most => Err(format!("query {b}: a similarity is off by {most:.1e}").into()),
        }
    }

    /// Searches for about `seconds`; the seconds of each.
    pub fn time(&self, seconds: f64) -> Result<Vec<f64>> {
        let Self { memory, queries, load } = self;
        repeat(seconds, || {
            match load.plain {
                true => drop(black_box(memory.retrieve_blocking(queries, &RetrieveOptions::default())?)),
                false => drop(black_box(memory.search_blocking(queries, load.top)?)),
            }
            Ok(())
        })
    }
}
