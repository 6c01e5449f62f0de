//! Host side of `shaders/similarity.wgsl`: the scores of a list of queries against a chunk of patterns.

use super::kernel::{Access, Kernel, Variant, params};

params! {
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "similarity",
    source: include_str!("../../shaders/similarity.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[
        Variant::COMPARED[0],
        Variant::COMPARED[1],
        Variant::COMPARED[2],
        Variant::COMPARED[3],
        Variant::COMPARED[4],
    ],
};

/// Queries, and patterns, of one workgroup.
pub const TILE: u32 = 64;

/// Loop iterations of one invocation.
pub fn iterations(key_vectors: u64) -> u64 {
    key_vectors.div_ceil(4) * (1 + 4)
}
