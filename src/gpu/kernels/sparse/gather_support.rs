//! Host side of `shaders/sparse/gather_support.wgsl`: the rows of each query's support, by weight.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{ESTIMATED_SUPPORT, LIST_CAPACITY, Pass, SummedRows};
use crate::gpu::operands::Sums;
use crate::gpu::patterns::StoredRows;
use crate::store::Window;

params! {
    capacity: u32,
    window_first: u32,
    window_rows: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    first: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "gather_support",
    source: include_str!("../../../../shaders/sparse/gather_support.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(LIST_CAPACITY.into(), sizes.columns),
    variants: &[
        Variant::STORED[0],
        Variant::STORED[1],
        Variant::STORED[2],
        Variant { constants: &[("COLUMNS", 64), ("VALUES", 1)], ..Variant::STORED[2] },
    ],
};

/// Invocations side by side over the column vectors.
pub fn side(columns: u32) -> u32 {
    columns.next_power_of_two().min(64)
}

/// Loop iterations of one invocation over a list of `capacity`.
fn iterations(capacity: u64, columns: u32) -> u64 {
    let groups = 64 / u64::from(side(columns));
    capacity.div_ceil(groups) + groups
}

/// The sums over one side of the rows of one window; those of the window that is `first` begin the sums.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    window: &Window<StoredRows>,
    first: bool,
    source: SummedRows<'_>,
    sums: Sums,
) -> Dispatch {
    let SummedRows { rows: stored, terms, vectors, first_column, values } = source;
    let side = side(vectors);
    let params = Params {
        capacity: LIST_CAPACITY,
        window_first: window.first as u32,
        window_rows: window.rows as u32,
        source_vectors: vectors,
        first_column,
        columns: sums.columns(),
        first: first.into(),
        padding: 0,
    };
    let workspace = &pass.operands.workspace;
    let storage = [
        queries,
        &workspace.candidates.heads,
        &workspace.records,
        &workspace.candidates.list,
        stored,
        terms,
        &workspace.running_stats,
        &workspace.running_sums,
    ];
    let grid = [vectors.div_ceil(side), pass.block.count, 1];
    // All of an estimated support in every window: an upper bound.
    let rows = u64::from(pass.block.count) * u64::from(ESTIMATED_SUPPORT);
    let work = Work {
        flops: rows * 8 * u64::from(vectors),
        bytes: rows * (8 * u64::from(grid[0]) + pass.stored_bytes(vectors)),
    };
    let setting =
        Setting { constants: vec![("COLUMNS", side), ("VALUES", values)], fragments: pass.stored_fragments() };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
