//! Host side of `shaders/hold.wgsl`: many queries, every stage fused over a split of the patterns.

use super::kernel::{Access, Kernel, Variant};
use super::shader::{Constant, Substitution};
pub use super::stream::Params;

pub const KERNEL: Kernel = Kernel {
    stem: "hold",
    source: include_str!("../../shaders/hold.wgsl"),
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
    variants: &[
        Variant::COMPARED[0],
        Variant { constants: &[("QUERIES", 2), ("KEYS", 4), ("OUT", 16), ("SAME", 0)], ..Variant::PLAIN },
        Variant { constants: &[("KEYS", 32), ("OUT", 16), ("SAME", 0), ("TERMS", 1)], ..Variant::COMPARED[1] },
        Variant {
            constants: &[("QUERIES", 4), ("KEYS", 8), ("OUT", 8), ("TERMS", 1), ("KEEP", 1)],
            ..Variant::COMPARED[4]
        },
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
/// Column vectors of the sums that an invocation holds at the most, unless they are those of the keys.
const OUT: u32 = 16;
/// The least common multiple of the spans of patterns that a workgroup goes through at once.
pub const SPAN: u64 = 64;

/// What of this kernel suits an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    /// Vectors of a key that an invocation can hold; 0 where it should hold none.
    pub vectors: u32,
    /// Vectors of keys, of all queries of an invocation.
    pub held: u32,
    /// Whether subgroups hand on what they fetch.
    pub subgroups: bool,
    /// Products of queries, patterns and vectors of a key from which it is worth compiling.
    pub least: u64,
}

impl Ability {
    /// What suits the adapters that Vulkan, Metal, DX12 or GL call `kind`.
    pub fn new(kind: wgpu::DeviceType, features: wgpu::Features) -> Self {
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        match kind {
            // What an invocation holds is in the nearest cache. Every fetch is one by one, unless a subgroup shares it;
            // compiling takes seconds.
            wgpu::DeviceType::Cpu => Self { vectors: 32, held: 64, subgroups, least: 1 << 25 },
            // 128 of its registers hold a query of 64 and its sums. Shared memory that all invocations read at one place
            // is as fast as subgroups.
            wgpu::DeviceType::DiscreteGpu => Self { vectors: 16, held: 16, subgroups: false, least: 1 << 20 },
            _ => Self { vectors: 0, held: 0, subgroups: false, least: u64::MAX },
        }
    }
}

/// How the work is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
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
}

impl Shape {
    /// The shape for a block of `queries` with keys of `key_vectors`.
    pub fn new(ability: &Ability, queries: u64, key_vectors: u32) -> Self {
        let keys = key_vectors.next_multiple_of(4);
        let most = u64::from(ability.held / keys).clamp(1, 4);
        let each = queries.div_ceil(WORKGROUP.into()).clamp(1, most) as u32;
        let queries = if each >= 4 { 4 } else { each.min(2) };
        Self { queries, keys, out: keys, same: true, subgroups: ability.subgroups }
    }

    /// This shape where `columns` vectors are summed, of which `key_columns` are the key's.
    pub fn summing(self, columns: u32, key_columns: u32) -> Self {
        let same = columns == key_columns;
        let out = if same { self.keys } else { columns.next_multiple_of(4).min(OUT) };
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
        rows.div_ceil(span) * (1 + bring + span / 4)
    }
}
