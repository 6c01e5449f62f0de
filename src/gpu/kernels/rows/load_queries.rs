//! Host side of `shaders/rows/load_queries.wgsl`: the caller's queries into padded rows.

use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, invocations};
use crate::gpu::targets::OwnedRows;

params! {
    queries: u32,
    columns: u32,
    vectors: u32,
    source_first: u32,
    source_stride: u32,
    width: u32,
    smallest: f32,
    largest: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "load_queries",
    source: include_str!("../../../../shaders/rows/load_queries.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.columns.into()),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("WORKGROUP", 8)], ..Variant::PLAIN },
        Variant { constants: &[("FURTHER", 1)], ..Variant::PLAIN },
    ],
};

/// Loop iterations of one invocation.
fn iterations(vectors: u64) -> u64 {
    vectors.div_ceil(64) + 64
}

/// The queries of a block, from `source` into the states; of which the block has some already, if they are `further`.
pub fn dispatch(pass: &Pass<'_>, source: &OwnedRows, further: bool) -> Dispatch {
    let (operands, block) = (pass.operands, pass.block);
    let (columns, vectors) = (operands.layout.dim as u32, operands.problem.key_vectors);
    let (binding, source_first, source_stride) = pass.bind(source, columns);
    let grid = pass.folded_grid();
    let params = Params {
        queries: block.count,
        columns,
        vectors,
        source_first,
        source_stride,
        width: grid[0],
        smallest: operands.query_range.smallest,
        largest: operands.query_range.largest,
    };
    let storage = [&binding, &operands.workspace.state, &operands.workspace.flags];
    let work = Work { flops: 0, bytes: 4 * u64::from(block.count) * u64::from(columns + 4 * vectors) };
    let mut constants = vec![("WORKGROUP", invocations(vectors))];
    constants.extend(further.then_some(("FURTHER", 1)));
    let setting = Setting::constants(constants);
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
