//! Host side of `shaders/staged/projection.wgsl`: the sums of a split's rows, by weight.

use super::similarity::SIDE;
use crate::gpu::kernel::{Access, Kernel, Variant, params};

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
    source: include_str!("../../../../shaders/staged/projection.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    variants: &[
        Variant::STORED[0],
        Variant::STORED[1],
        Variant::STORED[2],
        Variant { constants: &[("EACH", 4), ("WIDE", 1), ("VALUES", 1)], ..Variant::STORED[2] },
        Variant { constants: &[("EACH", 4)], ..Variant::PLAIN },
        Variant { constants: &[("WIDE", 1)], ..Variant::PLAIN },
    ],
};

/// Column vectors of one invocation where rows of `columns` are summed.
pub fn wide(columns: u32) -> u32 {
    if columns > 16 { 2 } else { 1 }
}

/// Column vectors of one workgroup.
pub fn side(columns: u32) -> u32 {
    SIDE * wide(columns)
}

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(rows: u64) -> u64 {
    rows.div_ceil(8) * (1 + 2)
}
