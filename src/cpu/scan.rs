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
use crate::cpu::separation::unnormalized::{Count, Counting};
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::MAX_LANES;
use crate::cpu::similarity::Scores;
use crate::cpu::tiles::{PatternView, TILE, Tile};
use crate::precision::Precision;
use crate::store::Layout;

/// Floats of a tile in [`Form::Rows`]: 16 KiB, which the first-level cache holds between the two products that read it.
const ROWS_TILE_FLOATS: usize = 4096;
/// Floats of keys that are assumed to stay in the second-level cache: 1 MiB.
const L2_FLOATS: usize = 1 << 18;
/// Floats of keys that are assumed to stay in the third-level cache: 32 MiB.
const L3_FLOATS: usize = 1 << 23;

/// Which rows are summed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summed {
    pub keys: bool,
    pub values: bool,
}

impl Summed {
    pub const NOTHING: Self = Self { keys: false, values: false };

    /// Floats of the sums of keys and of values.
    pub fn strides(self, layout: &Layout) -> [usize; 2] {
        [(self.keys, layout.key_stride()), (self.values, layout.value_stride())]
            .map(|(summed, stride)| if summed { stride } else { 0 })
    }
}

/// What a scan computes from its scores.
pub(super) enum Into {
    /// Weights with these sums of rows; and a list for each query, unless there are no lists.
    Sums { summed: Summed, lists: Vec<Candidates> },
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
        Into::Sums { summed, lists } => sums(view, level, block, queries, range, (summed, lists)),
        Into::Lists(mut lists) => {
            scores(view, level, block, queries, range, false, |tile, pitch, scores| {
                level.run(filter(block.form, tile, pitch, scores, &mut lists));
            });
            lists.into_iter().map(Scan::Candidates).collect()
        }
    }
}

/// What lists the candidates of one tile.
fn filter<'a>(
    form: Form,
    tile: &'a Tile<'_>,
    pitch: usize,
    scores: &'a mut [f32],
    lists: &'a mut [Candidates],
) -> Filter<'a> {
    let (count, scored) = (scored(form, tile), if form == Form::Panel { tile.read } else { None });
    Filter { form, pitch, count, first: tile.first, scored, scores, lists }
}

/// How many scores of a tile there are for each query: those of the rows that are read in a panel, whose lanes are
/// queries; those of all patterns in rows, where a sum has the order of their places.
pub(super) fn scored(form: Form, tile: &Tile<'_>) -> usize {
    match form {
        Form::Panel => tile.bias.len(),
        Form::Rows => tile.span,
    }
}

/// Computes the scores of the rows of one tile that are read, side by side.
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
    level.run(Scores {
        similarity: view.engine.rule.similarity,
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
    if tile.read.is_some() {
        // What follows in memory is not what comes next.
        return Prefetch::none();
    }
    Prefetch::after(tile.keys, panels * products * Prefetch::turns(tile.span, stride, vectors))
}

/// Calls `visit` with each tile of which a query may use some pattern, the pitch of its scores, and the scores, `-inf`
/// where masked: [`scored`] says of which patterns.
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
    view.tiles(queries, range, tile_rows, values, |tile| {
        let mut prefetch = match block.form {
            Form::Panel => prefetch_next(view, tile, block.width / level.lanes(), 1, 1),
            Form::Rows => Prefetch::none(),
        };
        score_tile(view, level, block, tile, (pitch, &mut scores), in_order, &mut prefetch);
        match block.form {
            Form::Panel => mask_panel(tile, block.queries, pitch, &mut scores),
            Form::Rows => scores.chunks_exact_mut(pitch).enumerate().for_each(|(q, scores)| mask_row(tile, q, scores)),
        }
        visit(tile, pitch, &mut scores);
    });
}

/// Sets the scores of patterns that may not be used to `-inf`, in rows of `pitch` of the first `queries` lanes.
fn mask_panel(tile: &Tile<'_>, queries: usize, pitch: usize, scores: &mut [f32]) {
    let rows = scores.chunks_exact_mut(pitch).take(tile.bias.len()).enumerate();
    match tile.flags {
        [] => {}
        // All that is read may be used.
        [_] if tile.read.is_some() => {}
        [all] => rows.filter(|(t, _)| all >> t & 1 == 0).for_each(|(_, row)| row.fill(f32::NEG_INFINITY)),
        each => rows.for_each(|(t, row)| {
            let place = tile.place(t);
            for (score, flags) in row[..queries].iter_mut().zip(each) {
                *score = if flags >> place & 1 == 0 { f32::NEG_INFINITY } else { *score };
            }
        }),
    }
}

/// Brings the scores of query `q` to the places of their patterns, `-inf` where that may not be used.
fn mask_row(tile: &Tile<'_>, q: usize, scores: &mut [f32]) {
    let Some(flags) = tile.flags.get(q).or(tile.flags.first()) else { return };
    // From the last on: no score has a place before the one that it was computed at.
    let mut rows = tile.bias.len();
    for place in (0..tile.span).rev() {
        let score = match tile.read {
            None => scores[place],
            Some(read) if rows > 0 && usize::from(read[rows - 1]) == place => {
                rows -= 1;
                scores[rows]
            }
            Some(_) => f32::NEG_INFINITY,
        };
        scores[place] = if flags >> place & 1 == 0 { f32::NEG_INFINITY } else { score };
    }
}

/// What weighs the scores of each query.
enum Weigher {
    Softmax(Running),
    Counting(Counting),
}

impl Weigher {
    fn new(view: &PatternView<'_>, queries: &[&Query], lanes: usize) -> Self {
        Counting::new(&view.engine.rule, queries, lanes)
            .map_or_else(|| Self::Softmax(Running::new(lanes)), Self::Counting)
    }

    /// Turns the scores of a tile into weights. Returns false where weighted sums of rows do not change.
    fn weigh(&mut self, level: Level, form: Form, tile: &Tile<'_>, pitch: usize, scores: &mut [f32]) -> bool {
        let count = scored(form, tile);
        match self {
            Self::Softmax(running) => level.run(Fold { form, pitch, count, scores, running }),
            Self::Counting(counting) => {
                let usable = |q: usize| tile.flags.get(q).or(tile.flags.first()).is_none_or(|flags| *flags != 0);
                counting.any.iter_mut().enumerate().for_each(|(q, any)| *any |= usable(q));
                // In rows, a tile of which few patterns are read has places without a score.
                let masked = !tile.flags.is_empty() || tile.read.is_some();
                level.run(Count { form, pitch, count, masked, scores, counting })
            }
        }
    }

    /// The factors of the sums of earlier tiles.
    fn shrink(&self) -> &[f32] {
        match self {
            Self::Softmax(running) => &running.shrink,
            Self::Counting(counting) => &counting.shrink,
        }
    }

    /// The largest score and the sum of exponentials of a query, or 0 and `T`; `-inf` where no pattern was usable.
    fn totals(&self, query: usize) -> (f64, f64) {
        match self {
            Self::Softmax(running) => (running.max(query), running.sum(query)),
            Self::Counting(counting) if counting.any[query] => (0.0, counting.of_self[query]),
            Self::Counting(_) => (f64::NEG_INFINITY, 0.0),
        }
    }
}

/// The weights of each query over the patterns of `range`, with its sums of rows, and its list where there are lists.
fn sums(
    view: &PatternView<'_>,
    level: Level,
    block: &Packed,
    queries: &[&Query],
    range: &Range<usize>,
    (summed, mut lists): (Summed, Vec<Candidates>),
) -> Vec<Scan> {
    let layout = view.engine.layout;
    let form = block.form;
    let strides = summed.strides(&layout);
    let lanes = if form == Form::Panel { block.width } else { block.queries };
    let mut weigher = Weigher::new(view, queries, lanes);
    let mut sums =
        strides.map(|stride| AlignedVec::zeros(lanes * if form == Form::Panel { stride } else { row_of_sums(stride) }));
    // The weights of the rows that are read, where others have scores, too.
    let mut of_rows = Vec::new();
    scores(view, level, block, queries, range, summed.values, |tile, pitch, scores| {
        if !lists.is_empty() {
            level.run(filter(form, tile, pitch, scores, &mut lists));
        }
        if !weigher.weigh(level, form, tile, pitch, scores) {
            return;
        }
        let weights = match (form, tile.read) {
            (Form::Rows, Some(read)) => {
                of_rows.resize(scores.len(), 0.0);
                for (to, from) in of_rows.chunks_exact_mut(pitch).zip(scores.chunks_exact(pitch)) {
                    to.iter_mut().zip(read).for_each(|(to, place)| *to = from[usize::from(*place)]);
                }
                &of_rows[..]
            }
            _ => &*scores,
        };
        let keys = summed.keys.then_some(tile.keys);
        for ((rows, stride), sums) in [keys, tile.values].into_iter().zip(strides).zip(&mut sums) {
            if let Some(rows) = rows {
                let (shrink, prefetch) = (weigher.shrink(), &mut Prefetch::none());
                level.run(Project { form, pitch, weights, shrink, rows, stride, sums, prefetch });
            }
        }
    });
    let [keys, values] = [0, 1].map(|i| match form {
        Form::Panel => columns(&sums[i], lanes, strides[i]),
        Form::Rows => sums[i].chunks(row_of_sums(strides[i]).max(1)).map(|row| row[..strides[i]].to_vec()).collect(),
    });
    let padded = |sums: Vec<Vec<f32>>| sums.into_iter().chain(std::iter::repeat(Vec::new()));
    let rows = padded(keys).zip(padded(values));
    let lists = lists.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    rows.take(block.queries)
        .zip(lists)
        .enumerate()
        .map(|(q, ((keys, values), list))| {
            let (max, sum) = weigher.totals(q);
            Scan::Online(Online { max, sum, keys, values, list })
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
    view.tiles(&[], &view.range, TILE, false, |tile| {
        let mut prefetch = prefetch_next(view, tile, vectors, blocks.len(), 2);
        for (block, (running, sums)) in blocks.iter().zip(&mut all) {
            let (pitch, count) = (block.width, tile.span);
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
    let mut result: Vec<Vec<f32>> = (0..columns).map(|_| vec![0.0; length]).collect();
    for (part, rows) in matrix.chunks(16 * columns).enumerate() {
        for (c, column) in result.iter_mut().enumerate() {
            let to = column[16 * part..].iter_mut();
            to.zip(rows.chunks_exact(columns)).for_each(|(to, row)| *to = row[c]);
        }
    }
    result
}
