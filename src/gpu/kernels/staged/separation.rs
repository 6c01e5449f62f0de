//! Host side of `shaders/staged/separation.wgsl`: scores to `exp(z - maximum)`, with each split's maximum and sum.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    padding: [u32; 4],
}

pub const KERNEL: Kernel = Kernel {
    stem: "separation",
    source: include_str!("../../../../shaders/staged/separation.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(rows: u64) -> u64 {
    2 * (rows.div_ceil(64) + 6)
}
