//! The stages of a scan over one tile, run one at a time, for measurements.

use crate::cpu::aligned::AlignedVec;
use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::product::Prefetch;
use crate::cpu::projection::{Project, row_of_sums};
use crate::cpu::separation::softmax::{Fold, Running};
use crate::cpu::simd::level::Level;
use crate::cpu::similarity::Scores;
use crate::cpu::tiles::TILE;
use crate::rule::Similarity;
use crate::store::stride;

/// One tile of patterns and one block of queries, under dot similarity and softmax.
#[derive(Debug)]
pub struct Stages {
    level: Level,
    block: Packed,
    keys: AlignedVec<f32>,
    bias: Vec<f32>,
    norms: Vec<f64>,
    stride: usize,
    pitch: usize,
    scores: AlignedVec<f32>,
    running: Running,
    sums: AlignedVec<f32>,
}

impl Stages {
    /// Packs one query, or the widest panel of this processor, and one tile of patterns, all rows of `dim` floats taken
    /// from `numbers` in turn, repeatedly.
    pub fn new(dim: usize, one: bool, numbers: &[f32]) -> Self {
        let level = Level::best();
        let (form, queries) = if one { (Form::Rows, 1) } else { (Form::Panel, level.panel()) };
        let mut numbers = numbers.iter().copied().cycle();
        let stride = stride(dim);
        let mut row = || -> Vec<f32> {
            let mut row: Vec<f32> = numbers.by_ref().take(dim).collect();
            row.resize(stride, 0.0);
            row
        };
        let queries: Vec<Query> =
            (0..queries).map(|q| Query::new(q, 1.0, row().into_iter().map(f64::from).collect())).collect();
        let mut keys = AlignedVec::zeros(TILE * stride);
        keys.chunks_exact_mut(stride).for_each(|key| key.copy_from_slice(&row()));
        let block = Packed::new(form, Similarity::Dot, level.lanes(), &queries.iter().collect::<Vec<_>>());
        let (pitch, sums) = match form {
            Form::Panel => (block.width, stride * block.width),
            Form::Rows => (TILE, row_of_sums(stride)),
        };
        let running = Running::new(queries.len());
        let (bias, norms) = (vec![0.0; TILE], vec![1.0; TILE]);
        Self {
            level,
            scores: AlignedVec::zeros(queries.len() * TILE),
            sums: AlignedVec::zeros(sums),
            block,
            keys,
            bias,
            norms,
            stride,
            pitch,
            running,
        }
    }

    /// The numbers of queries and of patterns.
    pub fn shape(&self) -> (usize, usize) {
        (self.block.queries, TILE)
    }

    /// Computes the scores of the tile under `beta`.
    pub fn similarity(&mut self, beta: f32) {
        self.block.betas.fill(beta);
        self.level.run(Scores {
            similarity: Similarity::Dot,
            block: &self.block,
            keys: &self.keys,
            bias: &self.bias,
            norms: &self.norms,
            pitch: self.pitch,
            scores: &mut self.scores,
            in_order: false,
            prefetch: &mut Prefetch::none(),
        });
    }

    /// Replaces the scores by weights.
    pub fn separation(&mut self) {
        let (form, pitch, scores, running) = (self.block.form, self.pitch, &mut self.scores[..], &mut self.running);
        self.level.run(Fold { form, pitch, count: TILE, scores, running });
    }

    /// Adds the rows of the tile by weight to the sums.
    pub fn projection(&mut self) {
        self.level.run(Project {
            form: self.block.form,
            pitch: self.pitch,
            weights: &self.scores,
            shrink: &self.running.shrink,
            rows: &self.keys,
            stride: self.stride,
            sums: &mut self.sums,
            prefetch: &mut Prefetch::none(),
        });
    }

    /// The score or weight of one query and one pattern of the tile.
    pub fn score(&self, query: usize, pattern: usize) -> f32 {
        match self.block.form {
            Form::Panel => self.scores[pattern * self.pitch + query],
            Form::Rows => self.scores[query * self.pitch + pattern],
        }
    }

    /// One coordinate of the weighted mean of one query.
    pub fn mean(&self, query: usize, column: usize) -> f64 {
        let sum = match self.block.form {
            Form::Panel => self.sums[column * self.pitch + query],
            Form::Rows => self.sums[query * row_of_sums(self.stride) + column],
        };
        f64::from(sum) / self.running.sum(query)
    }
}
