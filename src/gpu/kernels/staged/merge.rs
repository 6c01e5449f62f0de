//! Host side of `shaders/staged/merge.wgsl`: partial states of splits into the running state of their query.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, UNNORMALIZED, invocations, weighing};
use crate::gpu::operands::{Chunk, Sums};

params! {
    splits: u32,
    columns: u32,
    slot: u32,
    first: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "merge",
    source: include_str!("../../../../shaders/staged/merge.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    iterations: |sizes| iterations(sizes.splits, sizes.columns),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("WORKGROUP", 8), ("COLUMNS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("COLUMNS", 64)], ..Variant::PLAIN },
        Variant { constants: &[("COLUMNS", 64)], fragments: &UNNORMALIZED },
    ],
};

/// Invocations side by side over the column vectors.
pub fn side(columns: u32) -> u32 {
    columns.next_power_of_two().min(64)
}

/// Loop iterations of one invocation.
fn iterations(splits: u64, columns: u32) -> u64 {
    let groups = 64 / u64::from(side(columns));
    splits.div_ceil(64) + 6 + splits.div_ceil(groups) + groups
}

/// The slot that holds the statistics after this many chunks.
pub fn slot(chunks: u32) -> u32 {
    chunks % 2
}

/// The splits of a chunk into the running state.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, sums: Sums, chunk: &Chunk<'_>) -> Dispatch {
    let columns = sums.columns();
    let params = Params { splits: chunk.splits, columns, slot: slot(chunk.number), first: chunk.is_first().into() };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.stats, &workspace.sums, &workspace.running_stats, &workspace.running_sums];
    // Without columns one workgroup still merges the statistics.
    let side = side(columns);
    let grid = [columns.div_ceil(side).max(1), pass.block.count, 1];
    let partials = u64::from(pass.block.count) * u64::from(chunk.splits);
    let columns = u64::from(columns);
    let work = Work { flops: partials * 8 * columns, bytes: partials * (8 + 16 * columns) };
    let (_, fragments) = weighing(pass.operands.kernel_rule());
    let setting = Setting {
        constants: vec![("WORKGROUP", invocations(side.saturating_mul(chunk.splits))), ("COLUMNS", side)],
        fragments,
    };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
