//! Host side of `shaders/export.wgsl`: padded rows of the workspace into the caller's rows.

use super::kernel::{Access, Kernel, Variant, params};

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
    stem: "export",
    source: include_str!("../../shaders/export.wgsl"),
    storage: &[Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
pub fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64)
}
