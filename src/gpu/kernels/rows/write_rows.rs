//! Host side of `shaders/rows/write_rows.wgsl`: padded rows of the workspace into the caller's rows.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, fold};
use crate::gpu::targets::OwnedRows;

params! {
    rows: u32,
    columns: u32,
    source_first: u32,
    source_stride: u32,
    target_first: u32,
    target_stride: u32,
    width: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "write_rows",
    source: include_str!("../../../../shaders/rows/write_rows.wgsl"),
    storage: &[Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations((4 * u64::from(sizes.columns)).max(sizes.chunk_rows)),
    variants: &[Variant::PLAIN, Variant { constants: &[("SIDE", 4), ("ROWS", 64)], ..Variant::PLAIN }],
};

/// Words of a workgroup that has several rows.
const WORDS: u32 = 256;

/// Loop iterations of one invocation: over the words of a long row, or over rows of few words.
fn iterations(columns: u64) -> u64 {
    columns.div_ceil(64) + 2 * u64::from(WORDS / 64)
}

/// Rows of a workspace buffer: `columns` words each, `stride` apart from word `first` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceRows<'a> {
    pub buffer: &'a Binding,
    pub columns: u32,
    pub first: u32,
    pub stride: u32,
}

impl<'a> SourceRows<'a> {
    /// Rows padded to whole vectors.
    pub fn padded(buffer: &'a Binding, columns: u32) -> Self {
        Self { buffer, columns, first: 0, stride: columns.next_multiple_of(4) }
    }
}

/// One row for each query of the block, into its rows of `target`.
pub fn dispatch(pass: &Pass<'_>, source: SourceRows<'_>, target: &OwnedRows) -> Dispatch {
    let SourceRows { buffer, columns, first, stride } = source;
    let rows = pass.block.count;
    let (binding, target_first, target_stride) = pass.bind(target, columns);
    let at_once = (WORDS / columns.next_power_of_two()).max(1);
    let grid = fold(rows.div_ceil(at_once), pass.operands.max_workgroups);
    let params = Params {
        rows,
        columns,
        source_first: first,
        source_stride: stride,
        target_first,
        target_stride,
        width: grid[0],
        padding: 0,
    };
    let work = Work { flops: 0, bytes: 8 * u64::from(rows) * u64::from(columns) };
    let setting = Setting::constants([("SIDE", columns.next_power_of_two().min(64)), ("ROWS", at_once)]);
    pass.dispatch(&KERNEL, setting, &params, &[buffer, &binding], grid, work)
}
