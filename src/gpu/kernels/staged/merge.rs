//! Host side of `shaders/staged/merge.wgsl`: partial states of splits into the running state of their query.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    splits: u32,
    columns: u32,
    slot: u32,
    first: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "merge",
    source: include_str!("../../../../shaders/staged/merge.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("COLUMNS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("COLUMNS", 64)], ..Variant::PLAIN },
    ],
};

/// Invocations side by side over the column vectors.
pub fn side(columns: u32) -> u32 {
    columns.next_power_of_two().min(64)
}

/// Loop iterations of one invocation.
pub fn iterations(splits: u64, columns: u32) -> u64 {
    let groups = 64 / u64::from(side(columns));
    splits.div_ceil(64) + 6 + splits.div_ceil(groups) + groups
}
