//! Host side of `shaders/sparse/rank_hits.wgsl`: the lists of a search, in order, into the rows of its caller.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{LIST_CAPACITY, LIST_TOP, Pass};
use crate::gpu::targets::{OwnedRows, SearchOutputs};

params! {
    capacity: u32,
    k: u32,
    counted: u32,
    least: f32,
    factor: f32,
    stamp: u32,
    wanted: u32,
    positions_first: u32,
    positions_stride: u32,
    similarity_first: u32,
    similarity_stride: u32,
    report_first: u32,
    report_stride: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "rank_hits",
    source: include_str!("../../../../shaders/sparse/rank_hits.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |_| iterations(LIST_TOP.into()),
    variants: &[Variant::PLAIN],
};

/// Words of a query's report: stamp, how many patterns meet the threshold, hits, and status.
pub const REPORT_WORDS: u32 = 4;
/// The position of a place without a hit.
pub const NO_HIT: u32 = u32::MAX;

/// Loop iterations of one invocation over `k` entries.
fn iterations(k: u64) -> u64 {
    k.div_ceil(128) * (1 + k) + k.div_ceil(128)
}

/// The lists of `queries` to the rows of `outputs`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, outputs: &SearchOutputs, stamp: u32) -> Dispatch {
    let workspace = &pass.operands.workspace;
    // What is not wanted is bound to a buffer that nothing is written to.
    let place = |rows: &Option<OwnedRows>, columns: u32| match rows {
        Some(rows) => pass.bind(rows, columns),
        None => (workspace.segments.clone(), 0, 0),
    };
    let (positions, positions_first, positions_stride) = place(&outputs.positions, outputs.places);
    let (similarity, similarity_first, similarity_stride) = place(&outputs.similarity, outputs.places);
    let (report, report_first, report_stride) = place(&outputs.report, REPORT_WORDS);
    let wanted = [&outputs.positions, &outputs.similarity, &outputs.report];
    let params = Params {
        capacity: LIST_CAPACITY,
        k: outputs.places,
        counted: outputs.least.is_some().into(),
        least: outputs.least.unwrap_or(0.0),
        factor: outputs.factor,
        stamp,
        wanted: wanted.iter().enumerate().map(|(bit, rows)| u32::from(rows.is_some()) << bit).sum(),
        positions_first,
        positions_stride,
        similarity_first,
        similarity_stride,
        report_first,
        report_stride,
        padding: [0; 3],
    };
    let lists = &workspace.candidates;
    let storage =
        [queries, &lists.heads, &lists.list, &workspace.flags, &workspace.tallies, &positions, &similarity, &report];
    let entries = u64::from(pass.block.count) * u64::from(outputs.k);
    let work = Work { flops: entries * u64::from(outputs.k), bytes: 16 * entries };
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [pass.block.count, 1, 1], work)
}
