//! Visiting patterns: tiles of rows through the windows, and exact passes of one state over all patterns.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::simd::level::Level;
use crate::cpu::similarity::Exact;
use crate::exact::scores::score;
use crate::mask::Mask;
use crate::retrieval::options::RetrieveOptions;
use crate::store::Alive;

/// Patterns of one tile, at most.
pub(super) const TILE: usize = 128;
/// The biases of a tile where they do not count.
static NO_BIAS: [f32; TILE] = [0.0; TILE];
/// Splits of an exact pass: a constant, so that results do not depend on the number of cores.
pub(super) const TASKS: usize = 64;

/// Which patterns each query may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usable<'a> {
    pub alive: Option<&'a Alive>,
    pub mask: Option<&'a Mask>,
    /// Positions in use, of which some may have been freed.
    pub patterns: usize,
}

impl Usable<'_> {
    /// Whether the query at position `query` of the batch may use `pattern`.
    pub fn keeps(&self, query: usize, pattern: usize) -> bool {
        self.alive.is_none_or(|alive| alive[pattern])
            && self.mask.is_none_or(|mask| mask.keeps(query, pattern, self.patterns))
    }
}

/// Consecutive patterns of one window, with rows as `f32`.
pub(super) struct Tile<'a> {
    /// The position of its first pattern.
    pub first: usize,
    pub keys: &'a [f32],
    pub values: Option<&'a [f32]>,
    pub bias: &'a [f32],
    pub norms: &'a [f64],
}

/// One usable pattern with its score.
pub(super) struct Scored<'a> {
    pub index: usize,
    pub score: f64,
    pub key: &'a [f32],
    pub value: Option<&'a [f32]>,
}

/// Some patterns of an engine, as one retrieval sees them.
#[derive(Clone, Debug)]
pub(super) struct PatternView<'a> {
    pub engine: &'a Engine,
    pub usable: Usable<'a>,
    /// The positions to visit; patterns outside do not exist for the retrieval.
    pub range: Range<usize>,
    /// Whether biases count.
    pub biased: bool,
}

impl Engine {
    /// All patterns, as a retrieval with these restrictions sees them.
    pub(super) fn view<'a>(&'a self, options: &'a RetrieveOptions, alive: Option<&'a Alive>) -> PatternView<'a> {
        let patterns = self.windows.len();
        let usable = Usable { alive, mask: options.mask.as_ref(), patterns };
        PatternView { engine: self, usable, range: 0..patterns, biased: true }
    }
}

/// Divides `range` into at most `splits` parts of whole tiles.
pub(super) fn split(range: &Range<usize>, splits: usize) -> Vec<Range<usize>> {
    let step = range.len().div_ceil(splits).next_multiple_of(TILE);
    range.clone().step_by(step.max(1)).map(|start| start..range.end.min(start + step)).collect()
}

impl PatternView<'_> {
    /// Visits the tiles of `range`, of up to `rows` patterns, in order.
    pub fn tiles(&self, range: &Range<usize>, rows: usize, values: bool, mut visit: impl FnMut(&Tile<'_>)) {
        let layout = self.engine.layout;
        let (key_stride, value_stride) = (layout.key_stride(), layout.value_stride());
        let (mut key_scratch, mut value_scratch) = (Vec::new(), Vec::new());
        for window in self.engine.windows.filled() {
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            for start in (from..to).step_by(rows) {
                let count = rows.min(to - start);
                let block = &window.storage;
                visit(&Tile {
                    first: window.first + start,
                    keys: block.keys.load(start, count, key_stride, &mut key_scratch),
                    values: match &block.values {
                        Some(rows) if values => Some(rows.load(start, count, value_stride, &mut value_scratch)),
                        _ => None,
                    },
                    bias: if self.biased { &block.bias[start..start + count] } else { &NO_BIAS[..count] },
                    norms: &block.norms[start..start + count],
                });
            }
        }
    }

    /// One exact pass of `query` over all usable patterns: `visit` folds them, in order, into one accumulator for each
    /// split, which `make` creates from the number of the split. The splits depend only on the patterns.
    pub fn pass<A: Send>(
        &self,
        query: &Query,
        values: bool,
        make: impl Fn(usize) -> A + Sync,
        visit: impl Fn(&mut A, &Scored<'_>) + Sync,
    ) -> Vec<A> {
        let layout = self.engine.layout;
        let similarity = self.engine.rule.similarity;
        split(&self.range, TASKS)
            .into_par_iter()
            .enumerate()
            .map(|(number, range)| {
                let mut folded = make(number);
                let mut scores = [0.0; TILE];
                self.tiles(&range, TILE, values, |tile| {
                    let Tile { keys, norms, .. } = *tile;
                    Level::best().run(Exact { similarity, query, keys, norms, scores: &mut scores });
                    for (t, key) in keys.chunks_exact(layout.key_stride()).enumerate() {
                        let index = tile.first + t;
                        if self.usable.keeps(query.position, index) {
                            let score = score(&self.engine.rule, scores[t], tile.bias[t]);
                            let stride = layout.value_stride();
                            let value = tile.values.map(|values| &values[t * stride..(t + 1) * stride]);
                            visit(&mut folded, &Scored { index, score, key, value });
                        }
                    }
                });
                folded
            })
            .collect()
    }

    /// The exact score of one pattern.
    pub fn score_of(&self, query: &Query, index: usize, scratch: &mut Vec<f32>) -> f64 {
        let (block, at) = self.engine.windows.row(index);
        let similarity = self.similarity_of(query, index, scratch);
        score(&self.engine.rule, similarity, if self.biased { block.bias[at] } else { 0.0 })
    }

    /// The exact similarity of one pattern.
    pub fn similarity_of(&self, query: &Query, index: usize, scratch: &mut Vec<f32>) -> f64 {
        let (block, at) = self.engine.windows.row(index);
        let keys = block.keys.load(at, 1, self.engine.layout.key_stride(), scratch);
        let (similarity, norms, mut scores) = (self.engine.rule.similarity, &block.norms[at..=at], [0.0]);
        Level::best().run(Exact { similarity, query, keys, norms, scores: &mut scores });
        scores[0]
    }

    /// The largest norm and bias of the patterns that `keeps` accepts.
    pub fn norm_bounds_of(&self, keeps: impl Fn(usize) -> bool) -> NormBounds {
        let mut bounds = NormBounds { norm: 0.0, bias: 0.0 };
        for window in self.engine.windows.filled() {
            let block = &window.storage;
            for (row, (norm, bias)) in block.norms[..window.rows].iter().zip(&block.bias).enumerate() {
                let bias = if self.biased { f64::from(bias.abs()) } else { 0.0 };
                let index = window.first + row;
                if (*norm > bounds.norm || bias > bounds.bias) && self.range.contains(&index) && keeps(index) {
                    bounds.norm = bounds.norm.max(*norm);
                    bounds.bias = bounds.bias.max(bias);
                }
            }
        }
        bounds
    }

    /// The largest norm and bias of all patterns: [`PatternView::norm_bounds_of`] without a call for each pattern,
    /// since every retrieval starts with it.
    pub fn norm_bounds(&self) -> NormBounds {
        const CHUNK: usize = 1 << 14;
        let mut bounds = NormBounds { norm: 0.0, bias: 0.0 };
        for window in self.engine.windows.filled() {
            let from = self.range.start.clamp(window.first, window.first + window.rows) - window.first;
            let to = self.range.end.clamp(window.first, window.first + window.rows) - window.first;
            let block = &window.storage;
            let largest = |bounds: NormBounds, other: NormBounds| NormBounds {
                norm: bounds.norm.max(other.norm),
                bias: bounds.bias.max(other.bias),
            };
            let chunk = |(norms, bias): (&[f64], &[f32])| NormBounds {
                norm: largest_of(norms, |norm| norm),
                bias: if self.biased { f64::from(largest_of(bias, f32::abs)) } else { 0.0 },
            };
            let (norms, bias) = (&block.norms[from..to], &block.bias[from..to]);
            let chunks = norms.par_chunks(CHUNK).zip(bias.par_chunks(CHUNK));
            bounds = largest(bounds, chunks.map(chunk).reduce(|| bounds, largest));
        }
        bounds
    }
}

/// The largest of non-negative numbers, zero if there are none; in lanes, for speed.
fn largest_of<T: Copy + Default + PartialOrd>(numbers: &[T], map: impl Fn(T) -> T) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::default(); 16];
    let (parts, rest) = numbers.as_chunks::<16>();
    for part in parts {
        for (lane, number) in lanes.iter_mut().zip(part) {
            *lane = larger(*lane, map(*number));
        }
    }
    lanes.into_iter().chain(rest.iter().map(|number| map(*number))).fold(T::default(), larger)
}

/// The largest norm of a key and the largest magnitude of a bias.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormBounds {
    pub norm: f64,
    pub bias: f64,
}
