//! Visiting patterns: tiles of rows through the windows, and exact passes of one state over all patterns.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::rows::Rows;
use crate::cpu::simd::level::Level;
use crate::cpu::similarity::Exact;
use crate::cpu::usable::{Flags, Usable, places};
use crate::exact::scores::score;
use crate::retrieval::options::RetrieveOptions;
use crate::store::Alive;

/// Patterns of one tile, at most; one bit of [`Flags`] each.
pub(super) const TILE: usize = 128;
/// The biases of a tile where they do not count.
pub(super) static NO_BIAS: [f32; TILE] = [0.0; TILE];
/// Of a tile, all rows are read, in place, if more than one in so many can be used; else these alone.
const MIN_SHARE_READ: usize = 2;
/// Splits of an exact pass: a constant, so that results do not depend on the number of cores.
pub(super) const TASKS: usize = 64;

/// Consecutive patterns of one window of which a query may use some, with the rows that are read as `f32`: all, or
/// those that a query may use where these are few.
pub(super) struct Tile<'a> {
    /// The position of its first pattern.
    pub first: usize,
    /// How many patterns it has.
    pub span: usize,
    /// The places in the tile of the rows that are read, rising, if not all are.
    pub read: Option<&'a [u8]>,
    /// Which of its patterns queries may use: see [`Usable::flags`].
    pub flags: &'a [Flags],
    pub keys: &'a [f32],
    pub values: Option<&'a [f32]>,
    pub bias: &'a [f32],
    pub norms: &'a [f64],
}

impl Tile<'_> {
    /// The place of row `row` among the patterns of the tile.
    pub fn place(&self, row: usize) -> usize {
        self.read.map_or(row, |read| usize::from(read[row]))
    }
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
        let (mask, rows) = (options.mask.as_ref(), options.per_query.rows.as_deref());
        let usable = Usable { alive, mask, rows, exclude: None, patterns };
        PatternView { engine: self, usable, range: 0..patterns, biased: true }
    }
}

/// Room for the rows of one tile.
#[derive(Default)]
struct RowBuffers {
    decoded: Vec<f32>,
    gathered: Vec<f32>,
}

impl RowBuffers {
    /// Of the `span` rows from row `start` on those at the places `read`, or all.
    fn load<'a>(
        &'a mut self,
        rows: &'a Rows,
        start: usize,
        (span, read): (usize, Option<&[u8]>),
        stride: usize,
    ) -> &'a [f32] {
        let Some(read) = read else { return rows.load(start, span, stride, &mut self.decoded) };
        let consecutive = |run: &[u8]| usize::from(run[run.len() - 1] - run[0]) + 1 == run.len();
        if consecutive(read) {
            return rows.load(start + usize::from(read[0]), read.len(), stride, &mut self.decoded);
        }
        self.gathered.clear();
        for run in read.chunk_by(|a, b| a + 1 == *b) {
            let loaded = rows.load(start + usize::from(run[0]), run.len(), stride, &mut self.decoded);
            self.gathered.extend_from_slice(loaded);
        }
        &self.gathered
    }
}

/// Divides `range` into at most `splits` parts of whole tiles.
pub(super) fn split(range: &Range<usize>, splits: usize) -> Vec<Range<usize>> {
    let step = range.len().div_ceil(splits).next_multiple_of(TILE);
    range.clone().step_by(step.max(1)).map(|start| start..range.end.min(start + step)).collect()
}

impl PatternView<'_> {
    /// Visits the tiles of `range`, of up to `rows` patterns, in order, except those that none of `queries` may use.
    pub fn tiles(
        &self,
        queries: &[&Query],
        range: &Range<usize>,
        rows: usize,
        values: bool,
        mut visit: impl FnMut(&Tile<'_>),
    ) {
        let layout = self.engine.layout;
        let (key_stride, value_stride) = (layout.key_stride(), layout.value_stride());
        let (mut keys, mut of_values) = (RowBuffers::default(), RowBuffers::default());
        let (mut flags, mut read) = (Vec::new(), Vec::new());
        let (mut bias, mut norms) = (Vec::new(), Vec::new());
        let mut seen = self.usable.seen(queries).map(|seen| seen.into_iter().peekable());
        for window in self.engine.windows.filled() {
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            let block = &window.storage;
            let mut next = from;
            while next < to {
                let (start, first) = (next, window.first + next);
                if let Some(seen) = &mut seen {
                    // The tile that begins with or before what is seen next.
                    while seen.next_if(|range| range.end <= first).is_some() {}
                    let gap = seen.peek().map_or(to - start, |range| range.start.saturating_sub(first));
                    if gap >= rows {
                        next = start.saturating_add(gap / rows * rows);
                        continue;
                    }
                    if seen.peek().is_none() {
                        return;
                    }
                }
                let span = rows.min(to - start);
                next = start + rows;
                let usable = self.usable.flags(queries, first, span, &mut flags);
                if usable == 0 {
                    continue;
                }
                let few = MIN_SHARE_READ * usable.count_ones() as usize <= span;
                read.clear();
                if few {
                    read.extend(places(usable).map(|place| place as u8));
                    bias.clear();
                    bias.extend(places(usable).map(|place| block.bias[start + place]));
                    norms.clear();
                    norms.extend(places(usable).map(|place| block.norms[start + place]));
                }
                let read = few.then_some(&read[..]);
                visit(&Tile {
                    first,
                    span,
                    read,
                    flags: &flags,
                    keys: keys.load(&block.keys, start, (span, read), key_stride),
                    values: match &block.values {
                        Some(rows) if values => Some(of_values.load(rows, start, (span, read), value_stride)),
                        _ => None,
                    },
                    bias: match few {
                        _ if !self.biased => &NO_BIAS[..read.map_or(span, <[u8]>::len)],
                        true => &bias,
                        false => &block.bias[start..start + span],
                    },
                    norms: if few { &norms } else { &block.norms[start..start + span] },
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
                self.tiles(&[query], &range, TILE, values, |tile| {
                    let Tile { keys, norms, .. } = *tile;
                    Level::best().run(Exact { similarity, query, keys, norms, scores: &mut scores });
                    for (t, key) in keys.chunks_exact(layout.key_stride()).enumerate() {
                        let index = tile.first + tile.place(t);
                        if tile.flags.first().is_none_or(|flags| flags >> tile.place(t) & 1 != 0) {
                            let score = score(query.beta, scores[t], tile.bias[t]);
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
        score(query.beta, similarity, if self.biased { block.bias[at] } else { 0.0 })
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
