//! Host side of `shaders/sparse/bracket_threshold.wgsl`: the ends of each query's bracket, and its record.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    stage: u32,
    slot: u32,
    k: u32,
    softmax1: u32,
    lowest: f32,
    margin: f32,
    pivot: u32,
    splits: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "bracket_threshold",
    source: include_str!("../../../../shaders/sparse/bracket_threshold.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 5,
    variants: &[Variant::RULES[0], Variant::RULES[1], Variant::RULES[2]],
};

/// Opens the brackets.
pub const OPEN: u32 = 0;
/// Narrows them by one pass.
pub const NARROW: u32 = 1;
/// Narrows them and writes the records.
pub const CLOSE: u32 = 2;
/// Narrows them, takes the pivot that was found and opens the brackets of `s` beside it.
pub const TURN: u32 = 3;
/// Narrows the brackets of pivots by one pass.
pub const APPROACH: u32 = 4;

/// Loop iterations of one invocation over the trials of `splits`.
pub fn iterations(splits: u64) -> u64 {
    splits.div_ceil(8) + 8 + 2 * 8 + 8
}
