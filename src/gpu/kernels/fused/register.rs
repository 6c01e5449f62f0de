//! Host side of `shaders/fused/register.wgsl`: many queries, every stage fused over a split of the patterns.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Kernel, Variant};
use crate::gpu::kernels::common::{Pass, UNNORMALIZED};
use crate::gpu::kernels::fused::common::{self, Division, Params};
use crate::gpu::operands::{Chunk, Sums};
use crate::gpu::plan::problem::Problem;
use crate::gpu::shader::{Constant, Substitution};
use crate::tuning::Tuning;

pub const KERNEL: Kernel = Kernel {
    stem: "fused_register",
    source: include_str!("../../../../shaders/fused/register.wgsl"),
    storage: common::STORAGE,
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    iterations: |_| 0,
    variants: &[
        Variant::COMPARED[0],
        Variant {
            constants: &[("QUERIES", 2), ("KEYS", 8), ("OUT", 16), ("SAME", 0), ("TERMS", 1), ("KEEP", 1)],
            ..Variant::COMPARED[4]
        },
        Variant { constants: &[("KEYS", 32), ("OUT", 16), ("SAME", 0), ("TERMS", 1)], ..Variant::COMPARED[1] },
        Variant {
            constants: &[("QUERIES", 4), ("KEYS", 4), ("OUT", 8), ("SAME", 0), ("TERMS", 1), ("KEEP", 1)],
            ..Variant::COMPARED[4]
        },
        Variant { constants: &[("SAME", 0), ("TERMS", 1), ("KEEP", 1)], ..Variant::COMPARED[4] },
        Variant { constants: &[("SELF", 1), ("POWER", 3), ("RECORDS", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("SELF", 1), ("POWER", 2), ("RECTIFIED", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("STEP", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("QUERIES", 4)], fragments: &[SUBGROUP] },
        Variant {
            constants: &[("QUERIES", 2), ("KEYS", 32), ("OUT", 16), ("SAME", 0), ("TERMS", 1), ("KEEP", 1)],
            fragments: &[SUBGROUP, ("lib/compare_dot", "lib/compare_euclidean"), ("lib/stored_f32", "lib/stored_i8")],
        },
    ],
};

const SUBGROUP: Substitution = ("lib/spread_shared", "lib/spread_subgroup");
/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;
/// The maximum column vectors of the sums that an invocation holds, unless they are those of the keys.
const OUT: u32 = 16;
/// Column vectors of all keys that an invocation holds where compilers are slow to unroll, and those of its sums unless
/// they are the keys': FXC compiles each such kernel in less than three seconds.
pub const UNROLLED_KEYS: u32 = 16;
const UNROLLED_SUMS: u32 = 32;
/// The least common multiple of the spans of patterns that a workgroup goes through at once.
pub const SPAN: u64 = 64;

/// How the work is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterTile {
    /// Queries of an invocation.
    pub queries: u32,
    /// Vectors of a key that it holds.
    pub keys: u32,
    /// Vectors of the sums that it holds.
    pub out: u32,
    /// Whether the sums are over the keys, all of them.
    pub same: bool,
    /// Whether subgroups hand on what they fetch.
    pub subgroups: bool,
    /// Vectors of the sums that it may hold where they are not over the keys alone.
    most_out: u32,
}

impl RegisterTile {
    /// How a block of `queries` of a retrieval is served.
    pub fn new(tuning: &Tuning, problem: &Problem, queries: u64) -> Self {
        let keys = problem.key_vectors.next_multiple_of(4);
        let unrolled = if problem.unrolls_slowly { UNROLLED_KEYS / keys } else { u32::MAX };
        let most = if problem.apart { 1 } else { tuning.register_max_floats / (4 * u64::from(keys)) };
        let most = most.min(unrolled.into()).clamp(1, 4);
        let each = queries.div_ceil(WORKGROUP.into()).clamp(1, most) as u32;
        let queries = if each >= 4 { 4 } else { each.min(2) };
        let most_out = if problem.unrolls_slowly { OUT.min(UNROLLED_SUMS / queries) } else { OUT };
        let subgroups = problem.subgroups && tuning.register_subgroups > 0;
        Self { queries, keys, out: keys, same: true, subgroups, most_out }
    }

    /// This shape where `columns` vectors are summed, of which `key_columns` are the key's.
    pub fn summing(self, columns: u32, key_columns: u32) -> Self {
        let same = columns == key_columns;
        let out = if same { self.keys } else { columns.next_multiple_of(4).min(self.most_out) };
        Self { out, same, ..self }
    }

    pub fn constants(&self) -> Vec<Constant> {
        vec![("QUERIES", self.queries), ("KEYS", self.keys), ("OUT", self.out), ("SAME", self.same.into())]
    }

    pub fn fragments(&self) -> Vec<Substitution> {
        if self.subgroups { vec![SUBGROUP] } else { vec![] }
    }

    /// Queries of a workgroup.
    pub fn group(&self) -> u32 {
        WORKGROUP * self.queries
    }

    /// Workgroups that share the `columns` vectors of the sums.
    pub fn blocks(&self, columns: u32) -> u32 {
        columns.div_ceil(self.out)
    }

    /// Loop iterations of one invocation over `rows` patterns.
    pub fn iterations(&self, rows: u64) -> u64 {
        let (span, bring) = match self.subgroups {
            true => (64, 0),
            false => (16, 16 * u64::from(self.keys + OUT) / u64::from(WORKGROUP)),
        };
        // Each of up to four queries looks at five words of the mask for 128 patterns.
        rows.div_ceil(span) * (2 + bring + span / 4) + rows.div_ceil(128) * (1 + 4 * 5)
    }
}

/// One chunk by this kernel.
pub fn dispatch(
    pass: &Pass<'_>,
    tile: RegisterTile,
    inputs: (&Binding, &Binding),
    sums: Sums,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let tile = tile.summing(sums.columns(), sums.keys);
    let fragments = pass.compared_fragments().into_iter().chain(tile.fragments()).collect();
    let setting = Setting { constants: tile.constants(), fragments };
    let division = Division { queries: tile.group(), blocks: tile.blocks(sums.columns()), products: 1 };
    common::dispatch(pass, &KERNEL, setting, division, inputs, sums, chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What FXC was seen to compile in less than three seconds is what it is given, however the device is tuned.
    #[test]
    fn little_is_unrolled_where_that_is_slow() {
        let mut tuning = Tuning::of(wgpu::DeviceType::Cpu);
        (tuning.register_max_dim, tuning.register_max_floats) = (128, 256);
        for key_vectors in 1..=32 {
            for queries in [1, 64, 65, 128, 129, 1000] {
                let shape = Problem { key_vectors, unrolls_slowly: true, ..Problem::default() };
                for value_vectors in [0, 1, 5, 16, 40] {
                    let columns = key_vectors + value_vectors;
                    let held = RegisterTile::new(&tuning, &shape, queries).summing(columns, key_vectors);
                    assert!(held.keys > UNROLLED_KEYS || held.queries * held.keys <= UNROLLED_KEYS, "{held:?}");
                    assert!(held.same || held.queries * held.out <= UNROLLED_SUMS, "{held:?}");
                    assert!(held.blocks(columns) * held.out >= columns, "{held:?}");
                }
                let fast = Problem { unrolls_slowly: false, ..shape };
                assert_eq!(RegisterTile::new(&tuning, &fast, queries).summing(key_vectors + 40, key_vectors).out, OUT);
            }
        }
    }
}
