//! Host side of `shaders/bracket.wgsl`: trial thresholds over a chunk of scores.

use super::kernel::{Access, Kernel, Variant, params};

params! {
    rows: u32,
    score_stride: u32,
    gain: f32,
    exponent: f32,
    margin: f32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "bracket",
    source: include_str!("../../shaders/bracket.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("TOP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("PIVOT", 1)], ..Variant::PLAIN },
    ],
};

/// Trial thresholds of one pass, as the shaders have them.
pub const STEPS: u64 = 8;

/// Loop iterations of one invocation over `rows` patterns.
pub fn iterations(rows: u64) -> u64 {
    rows.div_ceil(256) * (1 + STEPS) + 2 * STEPS * (1 + 8) + 8
}
