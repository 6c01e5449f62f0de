//! Host side of `shaders/staged/weights.wgsl`: a chunk of scores into unnormalised weights, and what is reported of them.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    first: u32,
    rows: u32,
    score_stride: u32,
    splits: u32,
    gain: f32,
    exponent: f32,
    margin: f32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "weights",
    source: include_str!("../../../../shaders/staged/weights.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    variants: &[
        Variant::RULES[0],
        Variant::RULES[1],
        Variant::RULES[2],
        Variant { constants: &[("RULE", 1), ("FORM", 2)], ..Variant::PLAIN },
        Variant { constants: &[("RULE", 1), ("FORM", 3)], ..Variant::PLAIN },
        Variant { constants: &[("RULE", 1), ("FORM", 4)], ..Variant::PLAIN },
    ],
};

/// Loop iterations of one invocation over `rows` patterns.
pub fn iterations(rows: u64) -> u64 {
    rows.div_ceil(256) * (1 + 8) + 5 * 8 + 4
}
