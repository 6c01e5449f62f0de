//! Host side of `shaders/rows/compact_queries.wgsl`: lists of the queries that are still to be worked on.

use crate::gpu::kernel::{Access, Kernel, Variant, params};

params! {
    queries: u32,
    from_source: u32,
    stopped: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "compact_queries",
    source: include_str!("../../../../shaders/rows/compact_queries.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 1,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
pub fn iterations(queries: u64) -> u64 {
    queries.div_ceil(256) * (1 + 8)
}
