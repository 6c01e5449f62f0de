//! Host side of `shaders/rows/write_rows.wgsl`: padded rows of the workspace into the caller's rows.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    rows: u32,
    columns: u32,
    source_first: u32,
    source_stride: u32,
    target_first: u32,
    target_stride: u32,
    width: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "write_rows",
    source: include_str!("../../../../shaders/rows/write_rows.wgsl"),
    storage: &[Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 1,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
pub fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64)
}
