//! Host side of `shaders/sparse/solve_threshold.wgsl`: the threshold of each query from its list.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{ESTIMATED_SUPPORT, LIST_CAPACITY, Pass, entmax_numbers, top_of, with_form};
use crate::gpu::operands::KernelRule;
use crate::gpu::workspace::CandidateLists;

params! {
    capacity: u32,
    k: u32,
    margin: f32,
    gain: f32,
    exponent: f32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "solve_threshold",
    source: include_str!("../../../../shaders/sparse/solve_threshold.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 5,
    iterations: |_| iterations(LIST_CAPACITY.into()),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("FORM", 2)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 3)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 4)], ..Variant::PLAIN },
        Variant { constants: &[("TOP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("TOP", 1), ("SCORES", 1)], ..Variant::PLAIN },
    ],
};

/// Loop iterations of one invocation over a list of `capacity`: 32 trials of a pivot, 34 halvings, a slope and a sum.
fn iterations(capacity: u64) -> u64 {
    let list = capacity.div_ceil(128);
    (32 + 36) * (1 + list + 7) + list * (1 + 8) + 128
}

/// Lists to supports, and `records` of their weights; with `scores`, lists of top-k keep their scores.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    lists: &CandidateLists,
    records: &Binding,
    rule: KernelRule,
    scores: bool,
) -> Dispatch {
    let (gain, margin, exponent) = entmax_numbers(rule);
    let (top, k) = top_of(rule);
    let params = Params { capacity: LIST_CAPACITY, k, margin, gain, exponent, padding: [0; 3] };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.flags, &lists.heads, &lists.list, records];
    let setting = Setting::constants(with_form(rule, &[("TOP", top), ("SCORES", scores.into())]));
    let entries = u64::from(pass.block.count) * u64::from(ESTIMATED_SUPPORT);
    let work = Work { flops: 34 * 4 * entries, bytes: 16 * entries };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
