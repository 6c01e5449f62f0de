//! Host side of `shaders/sparse/rank_hits.wgsl`: the lists of a search, in order, into the rows of its caller.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{LIST_CAPACITY, Pass, ranking_iterations};
use crate::gpu::targets::SearchOutputs;

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
    iterations: |_| ranking_iterations(),
    variants: &[Variant::PLAIN],
};

/// Words of a query's report: stamp, how many patterns meet the threshold, hits, and status.
pub const REPORT_WORDS: u32 = 4;

/// The lists of `queries` to the rows of `outputs`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, outputs: &SearchOutputs, stamp: u32) -> Dispatch {
    let workspace = &pass.operands.workspace;
    let (wanted, bound) = pass.bind_wanted([
        (&outputs.positions, outputs.places),
        (&outputs.similarity, outputs.places),
        (&outputs.report, REPORT_WORDS),
    ]);
    let [
        (positions, positions_first, positions_stride),
        (similarity, similarity_first, similarity_stride),
        (report, report_first, report_stride),
    ] = bound;
    let params = Params {
        capacity: LIST_CAPACITY,
        k: outputs.places,
        counted: outputs.least.is_some().into(),
        least: outputs.least.unwrap_or(0.0),
        factor: outputs.factor,
        stamp,
        wanted,
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
