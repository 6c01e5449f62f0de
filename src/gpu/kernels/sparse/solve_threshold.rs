//! Host side of `shaders/sparse/solve_threshold.wgsl`: the threshold of each query from its list.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    capacity: u32,
    k: u32,
    margin: f32,
    gain: f32,
    exponent: f32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "solve_threshold",
    source: include_str!("../../../../shaders/sparse/solve_threshold.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 5,
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("FORM", 2)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 3)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 4)], ..Variant::PLAIN },
        Variant { constants: &[("TOP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("TOP", 1), ("SCORES", 1)], ..Variant::PLAIN },
    ],
};

/// Loop iterations of one invocation over a list of `capacity`: 32 trials of a pivot, 34 halvings, a slope and a sum.
pub fn iterations(capacity: u64) -> u64 {
    let list = capacity.div_ceil(256);
    (32 + 36) * (1 + list + 8) + list * (1 + 16) + 8
}
