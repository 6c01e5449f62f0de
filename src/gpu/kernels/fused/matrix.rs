//! Host side of `shaders/fused/matrix.wgsl`: many queries against patterns stored as halves, every stage fused over a
//! split of the patterns, products by cooperative matrices.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Kernel, Variant};
use crate::gpu::kernels::common::Pass;
use crate::gpu::kernels::fused::common::{self, Division, Params};
use crate::gpu::matrices::{Ability, SUBGROUPS};
use crate::gpu::operands::{Chunk, Sums};
use crate::gpu::shader::{Constant, Substitution};

pub const KERNEL: Kernel = Kernel {
    stem: "fused_matrix",
    source: include_str!("../../../../shaders/fused/matrix.wgsl"),
    storage: common::STORAGE,
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 12,
    iterations: |_| 0,
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("PARTS", 1), ("KEYS", 8), ("OUT", 8), ("SPAN", 2)], fragments: &[] },
        Variant {
            constants: &[("KEYS", 1), ("OUT", 3), ("SPAN", 4), ("SAME", 0), ("TERMS", 1), ("KEEP", 1)],
            fragments: &[EIGHT],
        },
        Variant {
            constants: &[("KEYS", 16), ("OUT", 16), ("SPAN", 4), ("ROWS", 2), ("TERMS", 1)],
            fragments: &[EIGHT, SCALAR],
        },
    ],
};

const EIGHT: Substitution = ("lib/matrix_16", "lib/matrix_8");
const SCALAR: Substitution = ("lib/entries_vector", "lib/entries_scalar");
/// The maximum floats of a key, and of the sums, that a workgroup has fragments for.
const WIDEST: u32 = 128;
/// Patterns of a tile: as many of these as there is memory for.
const TILES: [u32; 2] = [64, 32];
/// The least common multiple of the patterns that a workgroup goes through at once.
pub const TILE: u64 = 64;
/// The most patterns of a split: each may lose so little weight that this many lose no more than 2^-22 of the largest.
pub const MOST_ROWS: u64 = 1 << 14;

/// How the work is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixTile {
    ability: Ability,
    /// Fragments of queries of a subgroup.
    rows: u32,
    /// Fragments across a key, and across the sums.
    keys: u32,
    out: u32,
    /// Fragments of patterns in a tile.
    span: u32,
    /// Halves of an element of a query and of a weight.
    pub parts: u32,
    /// Whether the sums are over the keys, all of them.
    same: bool,
}

impl MatrixTile {
    /// The shape for keys of `key_vectors` and values of `value_vectors`, if there are registers and memory for them.
    pub fn new(ability: &Ability, parts: u32, key_vectors: u32, value_vectors: u32) -> Option<Self> {
        let keys = (4 * key_vectors).div_ceil(ability.side);
        // Two fragments of 8 rows use what is loaded twice, as one of 16 does by itself.
        let rows = if ability.side == 8 && ability.subgroup >= 16 { 2 } else { 1 };
        let shape = |tile: u32| {
            let span = tile / ability.side;
            Self { ability: *ability, rows, keys, out: keys, span, parts, same: true }
        };
        let fits = |shape: &Self| {
            let widest = shape.summing(key_vectors + value_vectors, key_vectors);
            shape.memory().max(widest.memory()) <= ability.memory
        };
        TILES.into_iter().map(shape).find(fits).filter(|_| 4 * key_vectors <= WIDEST)
    }

    /// This shape where `columns` vectors are summed, of which `key_columns` are the key's.
    pub fn summing(self, columns: u32, key_columns: u32) -> Self {
        let fragments = (4 * columns).div_ceil(self.ability.side).max(1);
        let blocks = fragments.div_ceil(WIDEST / self.ability.side);
        Self { out: fragments.div_ceil(blocks), same: columns == key_columns, ..self }
    }

    pub fn constants(&self) -> Vec<Constant> {
        vec![
            ("WORKGROUP", self.workgroup()),
            ("SUBGROUPS", SUBGROUPS),
            ("ROWS", self.rows),
            ("KEYS", self.keys),
            ("OUT", self.out),
            ("SPAN", self.span),
            ("PARTS", self.parts),
            ("SAME", self.same.into()),
        ]
    }

    pub fn fragments(&self) -> Vec<Substitution> {
        let side = (self.ability.side == 8).then_some(EIGHT);
        side.into_iter().chain((!self.ability.vectors).then_some(SCALAR)).collect()
    }

    fn workgroup(&self) -> u32 {
        SUBGROUPS * self.ability.subgroup.max(self.rows * self.ability.side)
    }

    /// Queries of a workgroup.
    pub fn group(&self) -> u32 {
        SUBGROUPS * self.rows * self.ability.side
    }

    /// Workgroups that share the `columns` vectors of the sums.
    pub fn blocks(&self, columns: u32) -> u32 {
        (4 * columns).div_ceil(self.ability.side).div_ceil(self.out).max(1)
    }

    /// Bytes that a workgroup shares.
    pub fn memory(&self) -> u32 {
        let patterns = self.span * self.ability.side;
        let tile = patterns * (2 * self.keys.max(self.out) * self.ability.side + 16);
        let weights = self.parts * self.group() * (2 * patterns + 16);
        let scores = self.group() * (4 * patterns + 32);
        tile + weights + scores + 8 * (patterns + 1) + 4 * self.workgroup() + 16
    }

    /// Loop iterations of one invocation over `rows` patterns.
    pub fn iterations(&self, rows: u64) -> u64 {
        let [span, side, keys, out] =
            [self.span, self.ability.side, self.keys, self.out.max(WIDEST / self.ability.side)];
        let workgroup = self.workgroup();
        let lanes = workgroup / self.group();
        let vectors = (span * side / 4).div_ceil(lanes);
        let bring = |fragments: u32| (span * side * fragments * side / 4).div_ceil(4 * workgroup);
        let columns = out.div_ceil(span) * vectors;
        let tile = 1 + bring(keys) + bring(out) + span * side / workgroup + 1 + 2 * vectors + lanes + columns;
        let once = keys * side / 4 + keys.div_ceil(span) * vectors + columns + lanes;
        // Whether 128 patterns are used stands in five words of the mask.
        u64::from(once) + rows.div_ceil((span * side).into()) * u64::from(tile) + rows.div_ceil(128) * (1 + 5)
    }
}

/// One chunk by this kernel.
pub fn dispatch(
    pass: &Pass<'_>,
    tile: MatrixTile,
    inputs: (&Binding, &Binding),
    sums: Sums,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let tile = tile.summing(sums.columns(), sums.keys);
    let setting = Setting { constants: tile.constants(), fragments: tile.fragments() };
    let division = Division { queries: tile.group(), blocks: tile.blocks(sums.columns()), products: tile.parts };
    common::dispatch(pass, &KERNEL, setting, division, inputs, sums, chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ability(side: u32, subgroup: u32, memory: u32) -> Ability {
        Ability { side, subgroup, memory, vectors: side == 16 }
    }

    #[test]
    fn tiles_are_as_large_as_memory_allows() {
        let tile = |side, subgroup, memory, key_vectors| {
            MatrixTile::new(&ability(side, subgroup, memory), 2, key_vectors, 0).map(|shape| shape.span * side)
        };
        assert_eq!(tile(16, 32, 48 << 10, 16), Some(64), "NVIDIA");
        assert_eq!(tile(16, 32, 48 << 10, 32), Some(32), "NVIDIA");
        assert_eq!(tile(8, 32, 32 << 10, 32), Some(32), "Apple");
        assert_eq!(tile(8, 8, 32 << 10, 16), Some(64), "lavapipe");
        assert_eq!(tile(16, 32, 16 << 10, 16), None, "WebGPU's default");
        assert_eq!(tile(16, 32, 64 << 10, 33), None, "too wide");
    }

    #[test]
    fn invocations_divide_into_rows() {
        for (side, subgroup) in [(16, 32), (16, 64), (16, 16), (8, 32), (8, 8), (8, 16)] {
            let shape = MatrixTile::new(&ability(side, subgroup, 64 << 10), 2, 32, 8).unwrap();
            assert!(shape.workgroup().is_multiple_of(shape.group()), "{shape:?}");
        }
    }
}
