//! Host side of `shaders/compact.wgsl`: lists of the queries that are still to be worked on.

use super::kernel::{Access, Kernel, Variant, params};

params! {
    queries: u32,
    from_source: u32,
    stopped: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "compact",
    source: include_str!("../../shaders/compact.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
pub fn iterations(queries: u64) -> u64 {
    queries.div_ceil(256) * (1 + 8)
}
