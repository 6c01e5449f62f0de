//! Host side of `shaders/sparse/gather_support.wgsl`: the rows of each query's support, by weight.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    capacity: u32,
    window_first: u32,
    window_rows: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    first: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "gather_support",
    source: include_str!("../../../../shaders/sparse/gather_support.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    variants: &[
        Variant::STORED[0],
        Variant::STORED[1],
        Variant::STORED[2],
        Variant { constants: &[("COLUMNS", 64), ("VALUES", 1)], ..Variant::STORED[2] },
    ],
};

/// Invocations side by side over the column vectors.
pub fn side(columns: u32) -> u32 {
    columns.next_power_of_two().min(64)
}

/// Loop iterations of one invocation over a list of `capacity`.
pub fn iterations(capacity: u64, columns: u32) -> u64 {
    let groups = 64 / u64::from(side(columns));
    capacity.div_ceil(groups) + groups
}
