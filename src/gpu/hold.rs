//! Host side of `shaders/hold.wgsl`: many queries, every stage fused over a split of the patterns.

use super::kernel::{Access, Kernel, Variant};
use super::shader::{Constant, Substitution};
pub use super::stream::Params;
use crate::tuning::Tuning;

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
    /// The shape for a block of `queries` with keys of `key_vectors`, on a device with `subgroups` or without.
    pub fn new(tuning: &Tuning, subgroups: bool, queries: u64, key_vectors: u32) -> Self {
        let keys = key_vectors.next_multiple_of(4);
        let most = (tuning.hold_floats / (4 * u64::from(keys))).clamp(1, 4);
        let each = queries.div_ceil(WORKGROUP.into()).clamp(1, most) as u32;
        let queries = if each >= 4 { 4 } else { each.min(2) };
        Self { queries, keys, out: keys, same: true, subgroups: subgroups && tuning.hold_subgroups > 0 }
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
