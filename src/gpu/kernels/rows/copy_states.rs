//! Host side of `shaders/rows/copy_states.wgsl`: copies of states, as they are or normalised.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    vectors: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "copy_states",
    source: include_str!("../../../../shaders/rows/copy_states.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    variants: &[Variant::PLAIN, Variant { constants: &[("NORMALIZE", 1)], ..Variant::PLAIN }],
};

/// Loop iterations of one invocation.
pub fn iterations(vectors: u64) -> u64 {
    3 * vectors.div_ceil(64) + 12
}
