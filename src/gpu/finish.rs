//! Host side of `shaders/finish.wgsl`: the end of a step.

use super::kernel::{Access, Kernel, params};

params! {
    queries: u32,
    columns: u32,
    key_columns: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "finish",
    source: include_str!("../../shaders/finish.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    params: size_of::<Params>(),
    fields: Params::FIELDS,
    variants: &[&[]],
};

/// Words of one query's report: stamp, steps, change (f32 bits), status.
pub const REPORT_WORDS: u32 = 4;

/// Loop iterations of one invocation.
pub fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64) + 64
}
