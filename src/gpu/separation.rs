//! Host side of `shaders/separation.wgsl`: scores to `exp(z - maximum)`, with each split's maximum and sum.

use super::kernel::{Access, Kernel, Variant, params};

params! {
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    padding: [u32; 4],
}

pub const KERNEL: Kernel = Kernel {
    stem: "separation",
    source: include_str!("../../shaders/separation.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(rows: u64) -> u64 {
    2 * (rows.div_ceil(64) + 6)
}
