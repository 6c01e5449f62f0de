//! Host side of `shaders/rows/load_queries.wgsl`: the caller's queries into padded rows.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    queries: u32,
    columns: u32,
    vectors: u32,
    source_first: u32,
    source_stride: u32,
    width: u32,
    smallest: f32,
    largest: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "load_queries",
    source: include_str!("../../../../shaders/rows/load_queries.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
pub fn iterations(vectors: u64) -> u64 {
    vectors.div_ceil(64) + 64
}
