//! Host side of `shaders/staged/update_states.wgsl`: the end of a step.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

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
pub fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64) + 64
}
