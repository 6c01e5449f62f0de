//! Host side of `shaders/similarity.wgsl`: the scores of a block of queries against a chunk of patterns.

use super::kernel::{Access, Kernel, params};

params! {
    queries: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "similarity",
    source: include_str!("../../shaders/similarity.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>(),
    fields: Params::FIELDS,
    variants: &[&[]],
};

/// Queries, and patterns, of one workgroup.
pub const TILE: u32 = 64;

/// Loop iterations of one invocation.
pub fn iterations(key_vectors: u64) -> u64 {
    key_vectors.div_ceil(4) * (1 + 4)
}
