//! Host side of `shaders/staged/update_states.wgsl`: the end of a step.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::operands::Sums;
use crate::rule::Separation;

params! {
    columns: u32,
    key_columns: u32,
    result_from: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    known_first: u32,
    known_stride: u32,
    tolerance: f32,
    stops_early: u32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "update_states",
    source: include_str!("../../../../shaders/staged/update_states.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.columns.into()),
    variants: &[Variant::PLAIN, Variant { constants: &[("SOFTMAX1", 1), ("CLAMP", 1)], ..Variant::PLAIN }],
};

/// Words of one query's report: stamp, steps, change (f32 bits), status.
pub const REPORT_WORDS: u32 = 4;
/// Status bit: the query has a NaN or an infinity.
pub const NOT_FINITE: u32 = 1;
/// Status bit: the query has a coordinate beyond the range in which the device computes right answers.
pub const OUT_OF_RANGE: u32 = 16;
/// Status bit: no pattern could have weight.
pub const NOTHING_LEFT: u32 = 2;
/// Flag: the query has converged and goes on no further.
pub const STOPPED: u32 = 4;
/// Flag: the query's candidates did not fit, its threshold is searched for over all patterns.
pub const SEARCH: u32 = 8;

/// Loop iterations of one invocation.
fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64) + 64
}

/// The end of update `step` for `queries`, whose statistics are in `slot`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, sums: Sums, step: u32, slot: u32) -> Dispatch {
    let operands = pass.operands;
    let clamp = operands.clamp.as_ref();
    // The result is the values' part, or with clamped keys all of it, before the clamp.
    let result_from = match (operands.problem.value_vectors, clamp) {
        (0, Some(_)) => 0,
        (0, None) => sums.columns(),
        _ => sums.keys,
    };
    let stride = clamp.map_or(0, |bits| bits.stride);
    let params = Params {
        columns: sums.columns(),
        key_columns: sums.keys,
        result_from,
        slot,
        step,
        stamp: operands.stamp,
        known_first: pass.block.first * stride,
        known_stride: stride,
        tolerance: operands.tolerance,
        stops_early: operands.stops_early.into(),
        padding: [0; 2],
    };
    let workspace = &operands.workspace;
    let storage = [
        queries,
        &workspace.running_stats,
        &workspace.running_sums,
        clamp.map_or(queries, |bits| &bits.words),
        &workspace.flags,
        &workspace.state,
        &workspace.result,
        &workspace.report,
    ];
    let setting = Setting::constants([
        ("SOFTMAX1", u32::from(operands.rule.separation == Separation::Softmax1)),
        ("CLAMP", u32::from(clamp.is_some())),
    ]);
    let vectors = u64::from(pass.block.count) * u64::from(sums.columns());
    let work = Work { flops: 16 * vectors, bytes: 48 * vectors };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
