//! What the fused kernels share: parameters, bindings and work. They differ in how a workgroup divides its work.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, params};
use crate::gpu::kernels::common::{Pass, term_bytes, threshold_of, weighing};
use crate::gpu::operands::{Chunk, Sums};

// Beside the rows of a chunk: the pieces of each split, the powers of two that are no more and no less than the rows of
// a piece, and whether the only split of a query is its running state (`ends`).
params! {
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    end_row: u32,
    rows_per_split: u32,
    splits: u32,
    key_vectors: u32,
    value_vectors: u32,
    key_columns: u32,
    columns: u32,
    beta: f32,
    records_first: u32,
    pieces: u32,
    threshold: f32,
    ends: u32,
    piece_below: u32,
    piece_above: u32,
    padding: [u32; 2],
}

/// Queries, what is compared with the keys, keys, values, terms and mask; statistics and sums of each split.
pub const STORAGE: &[Access] =
    &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write];

/// How a workgroup of a fused kernel divides its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Division {
    /// Queries of a workgroup.
    pub queries: u32,
    /// Workgroups that share the columns of the sums.
    pub blocks: u32,
    /// Products that make up one product of `f32`.
    pub products: u32,
}

/// Whether a fused kernel leaves nothing to be merged: its only split is the running state, which it writes itself.
pub(crate) fn ends_running(chunk: &Chunk<'_>, sums: Sums) -> bool {
    chunk.is_all && chunk.splits == 1 && sums.columns() > 0
}

/// A fused kernel over one chunk: statistics and sums of each of its splits.
pub(crate) fn dispatch(
    pass: &Pass<'_>,
    kernel: &'static Kernel,
    mut setting: Setting,
    division: Division,
    (compared, queries): (&Binding, &Binding),
    sums: Sums,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let (problem, count, columns) = (&pass.operands.problem, pass.block.count, sums.columns());
    let keys = &chunk.rows.keys;
    let rule = pass.operands.kernel_rule();
    let (mask, keep_first, keep_stride) = pass.mask_rows(keys);
    // Rows from one piece of a split to the next.
    let piece = chunk.rows_per_split.saturating_mul(chunk.splits);
    let params = Params {
        keep_first,
        keep_stride,
        window_first: chunk.window_first,
        first_row: chunk.first_row,
        end_row: chunk.first_row + chunk.count,
        rows_per_split: chunk.rows_per_split,
        splits: chunk.splits,
        key_vectors: problem.key_vectors,
        value_vectors: problem.value_vectors,
        key_columns: sums.keys,
        columns,
        beta: pass.beta(),
        records_first: pass.records_first(),
        pieces: chunk.count.div_ceil(piece),
        threshold: threshold_of(rule),
        ends: ends_running(chunk, sums).into(),
        piece_below: piece.ilog2(),
        piece_above: piece.ilog2() + u32::from(!piece.is_power_of_two()),
        padding: [0; 2],
    };
    let workspace = &pass.operands.workspace;
    let (stats, totals) = match ends_running(chunk, sums) {
        true => (&workspace.running_stats, &workspace.running_sums),
        false => (&workspace.stats, &workspace.sums),
    };
    let storage = [
        queries,
        compared,
        keys,
        chunk.rows.values.as_ref().unwrap_or(keys),
        chunk.rows.terms.as_ref().unwrap_or(keys),
        mask,
        stats,
        totals,
    ];
    let Division { queries: group, blocks, products } = division;
    let grid = [chunk.splits, count.div_ceil(group), blocks];
    // Workgroups go through what their queries may see.
    let rows = u64::from(chunk.count).min(problem.span());
    let (count, groups) = (u64::from(count), u64::from(grid[1]));
    let key_vectors = blocks * problem.key_vectors;
    // Keys that are summed are still in cache from their scores.
    let payload = rows * pass.stored_bytes(key_vectors + sums.values);
    let partials = count * u64::from(chunk.splits) * (8 + 16 * u64::from(columns));
    let compared_bytes = groups * u64::from(chunk.splits) * u64::from(group) * 16 * u64::from(key_vectors);
    let work = Work {
        flops: u64::from(products) * count * rows * 8 * u64::from(key_vectors + columns),
        bytes: groups * (payload + rows * term_bytes(chunk)) + compared_bytes + partials,
    };
    let (constants, fragments) = weighing(rule);
    setting.constants.extend(pass.compared_constants(chunk).into_iter().chain(constants));
    setting.fragments.extend(fragments);
    pass.dispatch(kernel, setting, &params, &storage, grid, work)
}
