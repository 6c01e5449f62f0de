//! One scan of a block of queries over some of the patterns: tile by tile, approximate scores, and from them either weights and
//! the sums of rows that they weigh, or lists of the patterns that can have weight.

use std::ops::Range;

use super::aligned::AlignedVec;
use super::merge::{Candidates, Filter, Online, Scan};
use super::product::Prefetch;
use super::projection::{Project, row_of_sums};
use super::separation::softmax::{Fold, Running};
use super::similarity::{Form, Packed, Query, Scores};
use super::tiles::{PatternView, TILE, Tile};
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::MAX_LANES;
use crate::precision::Precision;

/// Floats of a tile that few queries go over: 16 KiB.
const NEAR: usize = 4096;

/// Floats of keys that the second cache is taken to hold: 1 MiB.
const CACHED: usize = 1 << 18;

/// Floats of keys that the third cache is taken to hold: 32 MiB.
const FAR: usize = 1 << 23;

/// What follows a tile of keys, to be fetched while `panels` panels of so many vectors are multiplied by it, once or twice:
/// nothing where a cache has it.
fn next_tile(view: &PatternView<'_>, tile: &Tile<'_>, vectors: usize, panels: usize, products: usize) -> Prefetch {
    let stride = view.engine.layout.key_stride();
    if view.range.len() * stride <= CACHED {
        return Prefetch::none();
    }
    let count = tile.bias.len();
    Prefetch::after(tile.keys, panels * products * Prefetch::turns(count, stride, vectors))
}

/// What a scan makes of its scores.
pub(super) enum Into {
    /// Sums of keys, and of values where they are asked for.
    Sums { values: bool },
    /// A list for each query.
    Lists(Vec<Candidates>),
}

/// What the patterns of `range` leave of each of `queries`, which `block` packs.
pub(super) fn scan(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    into: Into,
) -> Vec<Scan> {
    match into {
        Into::Sums { values } => sums(view, level, block, queries, range, values),
        Into::Lists(mut lists) => {
            scores(view, level, block, queries, range, false, |tile, pitch, scores| {
                let count = tile.bias.len();
                level.run(Filter { form: block.form, pitch, count, first: tile.first, scores, lists: &mut lists });
            });
            lists.into_iter().map(Scan::Candidates).collect()
        }
    }
}

/// Calls `visit` with each tile, the pitch of its scores and the scores, `-inf` where masked.
fn scores(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    values: bool,
    mut visit: impl FnMut(&Tile<'_>, usize, &mut [f32]),
) {
    let rule = view.engine.rule;
    let (pitch, rows) = match block.form {
        Form::Panel => (block.width, TILE),
        Form::Rows => (TILE, block.queries),
    };
    let mut scores = AlignedVec::zeros(pitch * rows);
    let tile_rows = match block.form {
        Form::Panel => TILE,
        // Both products read the tile; it must stay in the smallest cache in between.
        Form::Rows => (NEAR / view.engine.layout.key_stride()).max(1).next_multiple_of(MAX_LANES).min(TILE),
    };
    let layout = view.engine.layout;
    // Narrow rows are widened first, tile by tile, and are near then.
    let far = layout.precision == Precision::F32 && view.range.len() * layout.key_stride() > FAR;
    view.tiles(range, tile_rows, values, |tile| {
        let mut prefetch = match block.form {
            Form::Panel => next_tile(view, tile, block.width / level.lanes(), 1, 1),
            Form::Rows => Prefetch::none(),
        };
        level.run(Scores {
            similarity: rule.similarity,
            beta: rule.beta,
            block,
            keys: tile.keys,
            bias: tile.bias,
            norms: tile.norms,
            pitch,
            scores: &mut scores,
            far,
            prefetch: &mut prefetch,
        });
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
    let shared = !usable.mask.is_some_and(crate::mask::Mask::is_per_query);
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

fn sums(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    values: bool,
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
    rows.take(block.queries)
        .enumerate()
        .map(|(q, (keys, values))| Scan::Online(Online { max: running.max(q), sum: running.sum(q), keys, values }))
        .collect()
}

/// The running maxima and sums of panels, and the sums of the keys by weight as a scan of all patterns leaves them: row after
/// row of as many floats as a panel is wide. Every tile is fetched once for all of the panels. Every pattern may be used.
pub(super) fn panels(view: &PatternView<'_>, level: Level, blocks: &[Packed]) -> Vec<(Running, AlignedVec<f32>)> {
    let rule = view.engine.rule;
    let stride = view.engine.layout.key_stride();
    let form = Form::Panel;
    let width = blocks.iter().map(|block| block.width).max().unwrap_or(0);
    let vectors = width / level.lanes();
    let mut scores = AlignedVec::zeros(TILE * width);
    let mut all: Vec<_> =
        blocks.iter().map(|block| (Running::new(block.width), AlignedVec::zeros(block.width * stride))).collect();
    view.tiles(&view.range, TILE, false, |tile| {
        let mut prefetch = next_tile(view, tile, vectors, blocks.len(), 2);
        for (block, (running, sums)) in blocks.iter().zip(&mut all) {
            let (pitch, count) = (block.width, tile.bias.len());
            level.run(Scores {
                similarity: rule.similarity,
                beta: rule.beta,
                block,
                keys: tile.keys,
                bias: tile.bias,
                norms: tile.norms,
                pitch,
                scores: &mut scores,
                far: false,
                prefetch: &mut prefetch,
            });
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
