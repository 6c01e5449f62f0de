//! Host side of `shaders/fused/stream.wgsl`: few queries, every stage fused over a split of the patterns.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Kernel, Variant};
use crate::gpu::kernels::common::{Pass, UNNORMALIZED};
use crate::gpu::kernels::fused::common::{self, Division, Params};
use crate::gpu::operands::{Chunk, Sums};
use crate::gpu::shader::Constant;

pub const KERNEL: Kernel = Kernel {
    stem: "fused_stream",
    source: include_str!("../../../../shaders/fused/stream.wgsl"),
    storage: common::STORAGE,
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 27,
    iterations: |_| 0,
    variants: &[
        Variant::COMPARED[0],
        Variant { constants: &[("QUERIES", 1), ("COLUMNS", 1), ("OUT", 1)], ..Variant::COMPARED[1] },
        Variant {
            constants: &[("QUERIES", 2), ("COLUMNS", 64), ("OUT", 2), ("KEEP", 1), ("RECORDS", 1)],
            ..Variant::COMPARED[2]
        },
        Variant { constants: &[("QUERIES", 4), ("COLUMNS", 64), ("OUT", 4), ("TERMS", 1)], ..Variant::COMPARED[3] },
        Variant {
            constants: &[("WORKGROUP", 256), ("QUERIES", 4), ("COLUMNS", 256), ("OUT", 4), ("TERMS", 1), ("KEEP", 1)],
            ..Variant::COMPARED[4]
        },
        Variant { constants: &[("SELF", 1), ("POWER", 3), ("RECORDS", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("SELF", 1), ("POWER", 2), ("RECTIFIED", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("STEP", 1)], fragments: &UNNORMALIZED },
    ],
};

/// Patterns whose scores a workgroup holds at once.
pub const TILE: u64 = 32;
/// Patterns that a workgroup skips at once, as in the shader.
const SPAN: u64 = 8 * TILE;
const LANES: u64 = 8;
const PIECES: u64 = 8;

/// How the invocations of a workgroup share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTile {
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Queries of a workgroup.
    pub queries: u32,
    /// Invocations side by side over the column vectors.
    pub columns: u32,
    /// Column vectors of an invocation.
    pub out: u32,
}

impl StreamTile {
    /// The shape for `queries` at once and sums of `columns` vectors.
    pub fn new(queries: u32, columns: u32) -> Self {
        let workgroup = if columns <= 256 { 64 } else { 256 };
        let side = columns.next_power_of_two().min(workgroup);
        let out = columns.div_ceil(side).next_power_of_two().min(4);
        Self { workgroup, queries, columns: side, out }
    }

    pub fn constants(&self) -> Vec<Constant> {
        vec![("WORKGROUP", self.workgroup), ("QUERIES", self.queries), ("COLUMNS", self.columns), ("OUT", self.out)]
    }

    /// Workgroups that share the `columns` vectors of the sums.
    pub fn blocks(&self, columns: u32) -> u32 {
        columns.div_ceil(self.columns * self.out)
    }

    /// Loop iterations of one invocation over `rows` patterns, as if nothing were unrolled.
    pub fn iterations(&self, rows: u64, key_vectors: u64) -> u64 {
        let [workgroup, queries, columns, out] = [self.workgroup, self.queries, self.columns, self.out].map(u64::from);
        let pairs = (queries * TILE).div_ceil(workgroup);
        let groups = workgroup / columns;
        let score = TILE.div_ceil(workgroup / LANES) * (1 + 2 * queries + key_vectors.div_ceil(LANES) * (1 + queries));
        let reduce = pairs * (1 + LANES) + TILE / PIECES;
        let rescale = queries * (1 + PIECES + out) + queries * (1 + TILE.div_ceil(workgroup));
        let project = TILE.div_ceil(groups) * (1 + queries + out * (1 + queries));
        let masked = queries * (1 + 2);
        let tile = 1 + masked + score + reduce + rescale + project;
        let join = queries * (1 + out * (1 + groups) + groups);
        // What each query sees is looked at, and each piece of a split has at least a tile.
        queries * (1 + out + 1)
            + rows.div_ceil(TILE)
            + rows.div_ceil(TILE) * tile
            + rows.div_ceil(SPAN) * (1 + queries * (1 + SPAN / 32 + 1))
            + join
    }
}

/// One chunk by this kernel, `queries` at once.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: u32,
    inputs: (&Binding, &Binding),
    sums: Sums,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let tile = StreamTile::new(queries, sums.columns());
    let setting = Setting { constants: tile.constants(), fragments: pass.compared_fragments() };
    let division = Division { queries, blocks: tile.blocks(sums.columns()), products: 1 };
    common::dispatch(pass, &KERNEL, setting, division, inputs, sums, chunk)
}
