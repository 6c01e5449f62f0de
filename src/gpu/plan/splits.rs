//! How patterns are split under each strategy: the patterns of a split, and the splits of a dispatch.

use super::limits::{ITERATION_LIMIT, SCRATCH, WORKSPACE};
use super::problem::Problem;
use crate::gpu::kernels::common::LIST_CAPACITY;
use crate::gpu::kernels::fused::matrix::{self, MatrixTile};
use crate::gpu::kernels::fused::register::{self, RegisterTile};
use crate::gpu::kernels::fused::stream::{self, StreamTile};
use crate::gpu::kernels::sparse::compare_listed;
use crate::gpu::kernels::staged::{projection, similarity};
use crate::strategy::Overrides;
use crate::tuning::Tuning;

/// `rows` of a split, no more than a workgroup goes through with `work` multiply-adds at `cost` each.
pub(super) fn bounded(rows: u64, cost: u64, work: u64, unit: u64) -> u64 {
    rows.min((work / cost / unit * unit).max(unit))
}

/// Queries of one workgroup that streams, where a pass over the memory has `block`: 1, 2 or 4.
pub(super) fn queries_at_once(block: u64, tuning: &Tuning) -> u32 {
    block.next_power_of_two().min(1 << tuning.stream_max_queries.ilog2()) as u32
}

/// The least patterns of a piece where queries see ranges: fewer, and the loop over pieces shows.
const LEAST_ROWS_OF_PIECE: u64 = 8 * stream::TILE;

/// `splits`, a power of two where queries see ranges: kernels then find the pieces of a range without a division.
fn whole_pieces(problem: &Problem, splits: u64) -> u64 {
    if problem.seen > 0 { 1 << splits.ilog2() } else { splits }
}

pub(super) fn stream_splits(
    problem: &Problem,
    tuning: &Tuning,
    overrides: &Overrides,
    block: u64,
    columns: u32,
) -> (u64, u64, StreamTile) {
    let mut queries = queries_at_once(block, tuning);
    // A long row may leave no room for several queries within the iteration limit.
    let fits = |queries: u32, rows: u64| {
        StreamTile::new(queries, columns).iterations(rows, problem.key_vectors.into()) <= ITERATION_LIMIT
    };
    while queries > 1 && !fits(queries, stream::TILE) {
        queries /= 2;
    }
    let groups = block.div_ceil(queries.into());
    let wanted = tuning.workgroups.div_ceil(groups);
    let rows = problem.span().div_ceil(wanted).next_multiple_of(stream::TILE);
    let cost = u64::from(queries) * 4 * u64::from(problem.key_vectors + columns);
    let mut rows = bounded(rows, cost, tuning.stream_max_macs_per_workgroup, stream::TILE);
    if problem.seen > 0 {
        // A split goes through many pieces, and sees nothing of most.
        rows = rows.max(LEAST_ROWS_OF_PIECE).next_power_of_two();
    }
    if let Some(asked) = overrides.rows_per_split {
        rows = u64::from(asked).clamp(1, problem.patterns.max(1)).next_multiple_of(stream::TILE);
    }
    if !problem.unbounded {
        while rows > stream::TILE && !fits(queries, rows) {
            rows = (rows / 2).next_multiple_of(stream::TILE);
        }
    }
    let partial_bytes = 8 + 16 * u64::from(columns);
    let splits = overrides.splits.map_or(u64::MAX, |asked| u64::from(asked.max(1)));
    let splits =
        splits.min((SCRATCH / (block * partial_bytes)).clamp(1, 1024)).min(problem.span().div_ceil(rows).max(1));
    let splits = whole_pieces(problem, splits);
    (rows, splits, StreamTile::new(queries, columns))
}

pub(super) fn fused_splits(
    problem: &Problem,
    tuning: &Tuning,
    overrides: &Overrides,
    block: u64,
    columns: u32,
    (hold, cooperate): (&RegisterTile, Option<&MatrixTile>),
) -> (u64, u64, StreamTile) {
    let group = u64::from(cooperate.map_or(hold.group(), MatrixTile::group));
    let (span, limit) =
        if cooperate.is_some() { (matrix::TILE, matrix::MOST_ROWS) } else { (register::SPAN, u64::MAX) };
    let iterations = |rows| cooperate.map_or(hold.iterations(rows), |cooperate| cooperate.iterations(rows));
    let wanted = tuning.workgroups.div_ceil(block.div_ceil(group));
    let rows = problem.span().div_ceil(wanted).max(tuning.register_min_rows_per_split).next_multiple_of(span);
    let cost = group * 4 * u64::from(problem.key_vectors + columns);
    let mut rows = bounded(rows, cost, tuning.register_max_macs_per_workgroup, span);
    if problem.seen > 0 {
        rows = rows.next_power_of_two();
    }
    if let Some(asked) = overrides.rows_per_split {
        rows = u64::from(asked).clamp(1, problem.patterns.max(1)).next_multiple_of(span);
    }
    rows = rows.min(limit);
    while !problem.unbounded && rows > span && iterations(rows) > ITERATION_LIMIT {
        rows = (rows / 2).next_multiple_of(span);
    }
    let most = (SCRATCH / (block * (8 + 16 * u64::from(columns)))).clamp(1, 1024);
    let splits = overrides.splits.map_or(most, |asked| u64::from(asked.max(1)).min(most));
    let splits = whole_pieces(problem, splits.min(problem.span().div_ceil(rows).max(1)));
    (rows, splits, StreamTile::new(1, columns))
}

pub(super) fn staged_splits(
    problem: &Problem,
    tuning: &Tuning,
    overrides: &Overrides,
    block: u64,
    each: u32,
) -> (u64, u64, StreamTile) {
    let tile = u64::from(similarity::ROWS);
    let columns = problem.columns();
    let lists = u64::from(problem.lists);
    // A pattern has a score of each query, beside it an upper bound, and beside lists half of what `filter_candidates`
    // may pick, and what trials give.
    let bounded = u64::from(problem.bounded);
    let scored = (u64::from(problem.top) * u64::from(compare_listed::STRIDE)).max(bounded * u64::from(LIST_CAPACITY));
    let top = u64::from(problem.top || problem.bounded) * 8 * u64::from(LIST_CAPACITY) + 4 * scored;
    let listed = lists * 8 * u64::from(LIST_CAPACITY) + top;
    let others = SCRATCH + block * (problem.row_bytes() + listed);
    let spare = WORKSPACE.saturating_sub(others) / (block * (4 + 5 * lists + 4 * bounded));
    let chunk = (tuning.max_score_bytes / (4 * block)).min(tuning.max_chunk_rows).min(spare);
    let chunk = ((chunk / tile).max(1) * tile).min(problem.patterns.max(1).next_multiple_of(tile));
    let groups =
        block.div_ceil((similarity::SIDE * each).into()) * u64::from(columns.div_ceil(projection::side(columns)));
    let partial_bytes = block * (8 + 16 * u64::from(columns));
    let most = (SCRATCH / partial_bytes).clamp(1, 1024).min(chunk / tile);
    let splits = tuning.workgroups.div_ceil(groups).clamp(1, most);
    let mut rows = chunk.div_ceil(splits).next_multiple_of(tile);
    if let Some(asked) = overrides.rows_per_split {
        rows = u64::from(asked).max(1).next_multiple_of(tile).min(chunk);
    }
    while !problem.unbounded && rows > tile && projection::iterations(rows) > ITERATION_LIMIT {
        rows = (rows / 2).next_multiple_of(tile);
    }
    let splits = (chunk / rows).clamp(1, most);
    let splits = overrides.splits.map_or(splits, |asked| u64::from(asked.max(1)).min(splits));
    (rows, splits, StreamTile::new(1, columns))
}
