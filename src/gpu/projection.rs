//! Host side of `shaders/projection.wgsl`: the sums of a split's rows, by weight.

use super::kernel::{Access, Kernel, Variant, params};

params! {
    first_row: u32,
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    weight_vectors: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    padding: [u32; 4],
}

pub const KERNEL: Kernel = Kernel {
    stem: "projection",
    source: include_str!("../../shaders/projection.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[
        Variant::STORED[0],
        Variant::STORED[1],
        Variant::STORED[2],
        Variant { constants: &[("VALUES", 1)], ..Variant::STORED[2] },
    ],
};

/// Queries of one workgroup.
pub const TILE: u32 = 64;
/// Column vectors of one workgroup.
pub const SIDE: u32 = 16;

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(rows: u64) -> u64 {
    rows.div_ceil(16) * (1 + 4)
}
