//! Host side of `shaders/sparse/settle_listed.wgsl`: lists of patterns that bounds did not rule out become lists of
//! candidates.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{ESTIMATED_SUPPORT, LIST_CAPACITY, Pass, entmax_numbers};
use crate::gpu::kernels::sparse::filter_candidates::reach_of;
use crate::gpu::operands::KernelRule;

params! {
    capacity: u32,
    reach: f32,
    margin: f32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "settle_listed",
    source: include_str!("../../../../shaders/sparse/settle_listed.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |_| iterations(LIST_CAPACITY.into()),
    variants: &[Variant::PLAIN, Variant { constants: &[("REPORT", 1)], ..Variant::PLAIN }],
};

/// The flag of a query whose list had no room for a pattern that may matter.
pub const OVERFLOW: u32 = 32;

/// Loop iterations of one invocation over a list of `capacity`.
fn iterations(capacity: u64) -> u64 {
    let list = capacity.div_ceil(128);
    list + 7 + list * (1 + 4)
}

/// The lists of `queries`, which `compare_listed` has scored, to lists of candidates; with `report` to those of the
/// largest scores, too.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, rule: KernelRule, report: bool) -> Dispatch {
    let (_, margin, _) = entmax_numbers(rule);
    let params = Params { capacity: LIST_CAPACITY, reach: reach_of(rule), margin, padding: 0 };
    let workspace = &pass.operands.workspace;
    let (lists, top) = (&workspace.candidates, &workspace.top);
    let storage =
        [queries, &workspace.similarities, &workspace.flags, &lists.heads, &lists.list, &top.heads, &top.list];
    let entries = u64::from(pass.block.count) * u64::from(ESTIMATED_SUPPORT);
    let work = Work { flops: 4 * entries, bytes: 32 * entries };
    let setting = Setting::constants([("REPORT", report.into())]);
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
