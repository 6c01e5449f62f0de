//! One scan of a block of queries over some of the patterns: tile by tile, approximate scores, and from them either
//! weights and weighted sums of rows, or lists of the patterns that can have weight.

use std::ops::Range;

use crate::cpu::aligned::AlignedVec;
use crate::cpu::candidates::{Candidates, Filter};
use crate::cpu::merge::{Online, Scan};
use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::product::Prefetch;
use crate::cpu::projection::{Project, row_of_sums};
use crate::cpu::separation::softmax::{Fold, Running};
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::MAX_LANES;
use crate::cpu::similarity::Scores;
use crate::cpu::tiles::{PatternView, TILE, Tile};
use crate::mask::Mask;
use crate::precision::Precision;

/// Floats of a tile in [`Form::Rows`]: 16 KiB, which the first-level cache holds between the two products that read it.
const ROWS_TILE_FLOATS: usize = 4096;
/// Floats of keys that are assumed to stay in the second-level cache: 1 MiB.
const L2_FLOATS: usize = 1 << 18;
/// Floats of keys that are assumed to stay in the third-level cache: 32 MiB.
const L3_FLOATS: usize = 1 << 23;

/// What a scan computes from its scores.
pub(super) enum Into {
    /// Softmax with the sums of keys, and of values if `values`; and a list for each query, unless there are no lists.
    Sums { values: bool, lists: Vec<Candidates> },
    /// A list for each query.
    Lists(Vec<Candidates>),
}

/// Scans the patterns of `range` for `queries`, which are packed in `block`: one result for each query.
pub(super) fn scan(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    into: Into,
) -> Vec<Scan> {
    match into {
        Into::Sums { values, lists } => sums(view, level, block, queries, range, (values, lists)),
        Into::Lists(mut lists) => {
            scores(view, level, block, queries, range, false, |tile, pitch, scores| {
                let count = tile.bias.len();
                level.run(Filter { form: block.form, pitch, count, first: tile.first, scores, lists: &mut lists });
            });
            lists.into_iter().map(Scan::Candidates).collect()
        }
    }
}

/// Computes the scores of one tile.
#[inline]
fn score_tile(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    tile: &Tile<'_>,
    (pitch, scores): (usize, &mut [f32]),
    in_order: bool,
    prefetch: &mut Prefetch,
) {
    let rule = view.engine.rule;
    level.run(Scores {
        similarity: rule.similarity,
        beta: rule.beta,
        block,
        keys: tile.keys,
        bias: tile.bias,
        norms: tile.norms,
        pitch,
        scores,
        in_order,
        prefetch,
    });
}

/// Prefetches the tile that follows `tile` while `panels` panels of `vectors` vectors are multiplied with it `products`
/// times each; nothing where the second-level cache holds all patterns.
fn prefetch_next(view: &PatternView<'_>, tile: &Tile<'_>, vectors: usize, panels: usize, products: usize) -> Prefetch {
    let stride = view.engine.layout.key_stride();
    if view.range.len() * stride <= L2_FLOATS {
        return Prefetch::none();
    }
    let count = tile.bias.len();
    Prefetch::after(tile.keys, panels * products * Prefetch::turns(count, stride, vectors))
}

/// Calls `visit` with each tile, the pitch of its scores, and the scores, `-inf` where masked.
pub(super) fn scores(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    values: bool,
    mut visit: impl FnMut(&Tile<'_>, usize, &mut [f32]),
) {
    let layout = view.engine.layout;
    let (pitch, rows, tile_rows) = match block.form {
        Form::Panel => (block.width, TILE, TILE),
        Form::Rows => {
            let tile_rows = (ROWS_TILE_FLOATS / layout.key_stride()).max(1).next_multiple_of(MAX_LANES).min(TILE);
            (TILE, block.queries, tile_rows)
        }
    };
    let mut scores = AlignedVec::zeros(pitch * rows);
    // Half-precision and 8-bit rows are widened first, tile by tile, and are in cache then.
    let in_order = layout.precision == Precision::F32 && view.range.len() * layout.key_stride() > L3_FLOATS;
    view.tiles(range, tile_rows, values, |tile| {
        let mut prefetch = match block.form {
            Form::Panel => prefetch_next(view, tile, block.width / level.lanes(), 1, 1),
            Form::Rows => Prefetch::none(),
        };
        score_tile(view, level, block, tile, (pitch, &mut scores), in_order, &mut prefetch);
        apply_mask(view, block.form, queries, tile, pitch, &mut scores);
        visit(tile, pitch, &mut scores);
    });
}

/// Sets the scores of patterns that may not be used to `-inf`.
fn apply_mask(
    view: &PatternView<'_>,
    form: Form,
    queries: &[&Query],
    tile: &Tile<'_>,
    pitch: usize,
    scores: &mut [f32],
) {
    let usable = view.usable;
    if usable.alive.is_none() && usable.mask.is_none() {
        return;
    }
    let place = |q: usize, t: usize| match form {
        Form::Panel => t * pitch + q,
        Form::Rows => q * pitch + t,
    };
    let shared = !usable.mask.is_some_and(Mask::is_per_query);
    for t in 0..tile.bias.len() {
        let keeps = |q: usize| usable.keeps(queries[q].position, tile.first + t);
        if shared && keeps(0) {
            continue;
        }
        for q in 0..queries.len() {
            if shared || !keeps(q) {
                scores[place(q, t)] = f32::NEG_INFINITY;
            }
        }
    }
}

/// The softmax of each query over the patterns of `range`, with its sums of rows, and its list where there are lists.
fn sums(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    (values, mut lists): (bool, Vec<Candidates>),
) -> Vec<Scan> {
    let layout = view.engine.layout;
    let form = block.form;
    let strides = [layout.key_stride(), if values { layout.value_stride() } else { 0 }];
    let lanes = if form == Form::Panel { block.width } else { block.queries };
    let mut running = Running::new(lanes);
    let mut sums =
        strides.map(|stride| AlignedVec::zeros(lanes * if form == Form::Panel { stride } else { row_of_sums(stride) }));
    scores(view, level, block, queries, range, values, |tile, pitch, scores| {
        let count = tile.bias.len();
        if !lists.is_empty() {
            let scores = &mut *scores;
            level.run(Filter { form, pitch, count, first: tile.first, scores, lists: &mut lists });
        }
        if !level.run(Fold { form, pitch, count, scores, running: &mut running }) {
            return;
        }
        for ((rows, stride), sums) in [Some(tile.keys), tile.values].into_iter().zip(strides).zip(&mut sums) {
            if let Some(rows) = rows {
                let (shrink, prefetch) = (&running.shrink[..], &mut Prefetch::none());
                level.run(Project { form, pitch, weights: scores, shrink, rows, stride, sums, prefetch });
            }
        }
    });
    let [keys, values] = [0, 1].map(|i| match form {
        Form::Panel => columns(&sums[i], lanes, strides[i]),
        Form::Rows => sums[i].chunks(row_of_sums(strides[i]).max(1)).map(|row| row[..strides[i]].to_vec()).collect(),
    });
    let rows = keys.into_iter().zip(values.into_iter().chain(std::iter::repeat(Vec::new())));
    let lists = lists.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    rows.take(block.queries)
        .zip(lists)
        .enumerate()
        .map(|(q, ((keys, values), list))| {
            Scan::Online(Online { max: running.max(q), sum: running.sum(q), keys, values, list })
        })
        .collect()
}

/// Scans all patterns, none of them masked, for several panels that share every tile. For each panel, the running
/// maxima and sums of the softmax and the weighted sums of the keys, as rows of as many floats as the panel is wide.
pub(super) fn panels(view: &PatternView<'_>, level: Level, blocks: &[Packed]) -> Vec<(Running, AlignedVec<f32>)> {
    let stride = view.engine.layout.key_stride();
    let form = Form::Panel;
    let width = blocks.iter().map(|block| block.width).max().unwrap_or(0);
    let vectors = width / level.lanes();
    let mut scores = AlignedVec::zeros(TILE * width);
    let mut all: Vec<_> =
        blocks.iter().map(|block| (Running::new(block.width), AlignedVec::zeros(block.width * stride))).collect();
    view.tiles(&view.range, TILE, false, |tile| {
        let mut prefetch = prefetch_next(view, tile, vectors, blocks.len(), 2);
        for (block, (running, sums)) in blocks.iter().zip(&mut all) {
            let (pitch, count) = (block.width, tile.bias.len());
            score_tile(view, level, block, tile, (pitch, &mut scores), false, &mut prefetch);
            if level.run(Fold { form, pitch, count, scores: &mut scores, running: &mut *running }) {
                let (weights, shrink) = (&scores[..], &running.shrink[..]);
                let (rows, prefetch) = (tile.keys, &mut prefetch);
                level.run(Project { form, pitch, weights, shrink, rows, stride, sums, prefetch });
            }
        }
    });
    all
}

/// The columns of a matrix of `columns` columns and `length` rows, a few rows at a time while they are in cache.
fn columns(matrix: &[f32], columns: usize, length: usize) -> Vec<Vec<f32>> {
    let mut result: Vec<Vec<f32>> = (0..columns).map(|_| Vec::with_capacity(length)).collect();
    for rows in matrix.chunks(16 * columns) {
        for (c, column) in result.iter_mut().enumerate() {
            column.extend(rows[c..].iter().step_by(columns));
        }
    }
    result
}
