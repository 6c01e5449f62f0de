//! Host side of `shaders/staged/update_states.wgsl`: the end of a step.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, invocations};
use crate::gpu::operands::{Operands, Sums};
use crate::rule::{Next, Separation};

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
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("SOFTMAX1", 1), ("CLAMP", 1), ("WORKGROUP", 8)], ..Variant::PLAIN },
    ],
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

/// The column vectors of the sums, those of them that go on, and where the result starts: it is the values' part, or
/// where states are not what is summed all of it.
pub fn columns(operands: &Operands, sums: Sums) -> (u32, u32, u32) {
    let problem = &operands.problem;
    match (problem.value_vectors, operands.rule.update.next) {
        (0, _) if problem.result => (sums.columns(), sums.keys, 0),
        (0, _) => (sums.columns(), sums.keys, sums.columns()),
        (_, Next::Keys) => (sums.columns(), sums.keys, sums.keys),
        (_, Next::Values) => (sums.values, sums.values, 0),
    }
}

/// The end of the pass's update for `queries`, whose statistics are in `slot`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, sums: Sums, slot: u32) -> Dispatch {
    let operands = pass.operands;
    let known = operands.known.as_ref();
    let (columns, key_columns, result_from) = columns(operands, sums);
    let stride = known.map_or(0, |known| known.stride);
    let params = Params {
        columns,
        key_columns,
        result_from,
        slot,
        step: pass.step,
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
        known.map_or(queries, |known| &known.words),
        &workspace.flags,
        &workspace.state,
        &workspace.result,
        &workspace.report,
    ];
    let setting = Setting::constants([
        ("WORKGROUP", invocations(columns)),
        ("SOFTMAX1", u32::from(operands.rule.separation == Separation::Softmax1)),
        ("CLAMP", u32::from(known.is_some_and(|known| known.clamped))),
    ]);
    let vectors = u64::from(pass.block.count) * u64::from(sums.columns());
    let work = Work { flops: 16 * vectors, bytes: 48 * vectors };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
