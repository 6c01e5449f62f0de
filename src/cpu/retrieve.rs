//! One batch from queries to answers: queries in blocks, patterns in splits, both in parallel; splits merge in order.

use rayon::prelude::*;

use super::merge::Partial;
use super::{Engine, projection, separation, similarity};
use crate::retrieval::{Retrieval, RetrieveOptions, Stop};
use crate::store::{pad_rows, stride};

/// Queries that share each tile of patterns while it is in cache.
const QUERY_BLOCK: usize = 8;
/// Patterns whose scores are held at once.
const TILE: usize = 64;
/// Parallel tasks to aim for; a constant, so that the bits do not depend on the number of cores.
const TASKS: usize = 64;

/// What one step asks for besides the next state.
#[derive(Clone, Copy)]
struct Wanted {
    values: bool,
}

impl Engine {
    /// Retrieves for checked queries (`batch x dim`, tight) from a memory that is not empty.
    pub fn retrieve(&self, queries: &[f32], options: &RetrieveOptions) -> Retrieval {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let queries = pad_rows(queries, layout.dim);
        let blocks = options.plan_for.unwrap_or(batch).max(1).div_ceil(QUERY_BLOCK);
        let splits = (TASKS / blocks).clamp(1, self.windows.len().div_ceil(TILE));
        let answers: Vec<Block> = queries
            .par_chunks(QUERY_BLOCK * layout.key_stride())
            .map(|block| self.retrieve_block(block, splits, options))
            .collect();
        let mut retrieval =
            Retrieval { batch, dim: layout.dim, value_dim: layout.output_dim(), ..Retrieval::default() };
        for answer in answers {
            let tight = |rows: &[f32], columns: usize, to: &mut Vec<f32>| {
                for row in rows.chunks_exact(stride(columns)) {
                    to.extend_from_slice(&row[..columns]);
                }
            };
            tight(&answer.state, layout.dim, &mut retrieval.state);
            match (&answer.output, layout.value_dim) {
                (Some(output), Some(columns)) => tight(output, columns, &mut retrieval.output),
                _ => tight(&answer.state, layout.dim, &mut retrieval.output),
            }
            retrieval.converged.extend(answer.change.iter().map(|&c| c <= options.tolerance()));
            retrieval.change.extend(answer.change);
            retrieval.steps.extend(answer.steps);
        }
        retrieval
    }

    fn retrieve_block(&self, queries: &[f32], splits: usize, options: &RetrieveOptions) -> Block {
        let width = self.layout.key_stride();
        let count = queries.len() / width;
        let Stop::Steps(steps) = options.stop else {
            unreachable!("refused before the engine is called");
        };
        let mut state = queries.to_vec();
        let mut output = None;
        let mut change = vec![0.0f32; count];
        for step in 1..=steps {
            let wanted = Wanted { values: step == steps && self.layout.value_dim.is_some() };
            let partials = self.step(&state, splits, wanted);
            let mut sums = Vec::new();
            for (q, partial) in partials.iter().enumerate() {
                let next: Vec<f32> = partial.rows.iter().map(|sum| sum / partial.sum).collect();
                let row = &mut state[q * width..(q + 1) * width];
                change[q] = row.iter().zip(&next).fold(0.0, |most, (x, next)| f32::max(most, (next - x).abs()));
                row.copy_from_slice(&next[..width]);
                sums.extend_from_slice(&next[width..]);
            }
            if wanted.values {
                output = Some(sums);
            }
        }
        Block { state, output, change, steps: vec![steps; count] }
    }

    /// The merged partial state of every query in `queries` over all patterns.
    fn step(&self, queries: &[f32], splits: usize, wanted: Wanted) -> Vec<Partial> {
        let rows = self.windows.len();
        let per_split = rows.div_ceil(splits).next_multiple_of(TILE);
        let partials: Vec<Vec<Partial>> = (0..rows.div_ceil(per_split))
            .into_par_iter()
            .map(|split| self.split(queries, split * per_split..rows.min((split + 1) * per_split), wanted))
            .collect();
        let mut partials = partials.into_iter();
        let mut merged = partials.next().expect("a memory that is not empty has a split");
        for split in partials {
            for (into, other) in merged.iter_mut().zip(&split) {
                into.merge(other);
            }
        }
        merged
    }

    /// The partial states of `queries` over the patterns of `range`, tile by tile through the windows.
    fn split(&self, queries: &[f32], range: std::ops::Range<usize>, wanted: Wanted) -> Vec<Partial> {
        let key_stride = self.layout.key_stride();
        let value_stride = self.layout.value_stride();
        let columns = key_stride + if wanted.values { value_stride } else { 0 };
        let mut partials = vec![Partial::empty(columns); queries.len() / key_stride];
        let mut scores = vec![0.0; partials.len() * TILE];
        for window in self.windows.filled() {
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            for start in (from..to).step_by(TILE) {
                let tile = TILE.min(to - start);
                let keys = &window.storage.keys[start * key_stride..(start + tile) * key_stride];
                let values = match &window.storage.values {
                    Some(values) if wanted.values => &values[start * value_stride..(start + tile) * value_stride],
                    _ => &[],
                };
                let scores = &mut scores[..partials.len() * tile];
                similarity::scores(self.rule.beta, queries, keys, key_stride, scores);
                for (partial, scores) in partials.iter_mut().zip(scores.chunks_exact_mut(tile)) {
                    let shrink = separation::softmax_tile(scores, &mut partial.max, &mut partial.sum);
                    let (key_sums, value_sums) = partial.rows.split_at_mut(key_stride);
                    projection::project(key_sums, shrink, scores, keys);
                    if !values.is_empty() {
                        projection::project(value_sums, shrink, scores, values);
                    }
                }
            }
        }
        partials
    }
}

/// The answers to one block of queries, in padded rows.
struct Block {
    state: Vec<f32>,
    output: Option<Vec<f32>>,
    change: Vec<f32>,
    steps: Vec<u32>,
}
