//! Host side of `shaders/sparse/filter_candidates.wgsl`: from a chunk of scores, those that may enter a list of candidates.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    first: u32,
    first_pattern: u32,
    rows: u32,
    score_stride: u32,
    spans: u32,
    room: u32,
    k: u32,
    margin: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "filter_candidates",
    source: include_str!("../../../../shaders/sparse/filter_candidates.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 9,
    variants: &[Variant::PLAIN, Variant { constants: &[("TOP", 1)], ..Variant::PLAIN }],
};

/// Scores of one workgroup.
pub const SPAN: u32 = 2048;

/// Loop iterations of one invocation.
pub fn iterations() -> u64 {
    let each = u64::from(SPAN / 256);
    let select = 32 + 2 * each + 32 * (1 + each) + each;
    2 * each + 8 + select + each * (1 + 16)
}
