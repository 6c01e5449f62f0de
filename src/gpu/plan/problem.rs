//! What a plan depends on: the shape of a retrieval and what the device can do for it.

use crate::gpu::matrices::Ability;

/// What a plan depends on, besides the device's [`Tuning`](crate::tuning::Tuning).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct Problem {
    /// Queries of the batch that is planned for.
    pub batch: u64,
    /// Stored patterns.
    pub patterns: u64,
    /// Vectors of four floats in a key.
    pub key_vectors: u32,
    /// Vectors of four floats in a value; 0 where keys are their own values.
    pub value_vectors: u32,
    /// Whether the device has subgroups.
    pub subgroups: bool,
    /// Whether kernels with much that is unrolled take its compiler seconds: an invocation then holds less.
    pub unrolls_slowly: bool,
    /// What cooperative matrices the device has, where they serve the rule and how patterns are stored.
    pub cooperate: Option<Ability>,
    /// Halves that make up an element of a query and a weight where those multiply.
    pub parts: u32,
    /// Whether the rule can be computed in one pass with every stage fused.
    pub fused: bool,
    /// Whether queries have lists of candidates: sparse rules, top-k, and reports.
    pub lists: bool,
    /// Whether queries have lists of their largest scores besides.
    pub top: bool,
    /// Whether bounds from keys in 8 bits list candidates of a batch of few queries, where they stream.
    pub bounded: bool,
    /// Whether the workspace holds normalised copies of the states.
    pub compared: bool,
    /// Whether the workspace holds the states before the last step.
    pub previous: bool,
    /// Whether the workspace holds states that later ones are compared with.
    pub saved: bool,
    /// Patterns that the queries of a workgroup see between them, about, where queries see ranges; 0 where all see all.
    pub seen: u64,
    /// Whether so few queries see the same patterns that an invocation had better not hold several.
    pub apart: bool,
    /// Whether outputs are apart from states.
    pub result: bool,
    /// Whether loops may be of any length: a fault that tests inject.
    pub unbounded: bool,
}

impl Problem {
    /// Column vectors of the widest sums: keys, and values where there are some.
    pub fn columns(&self) -> u32 {
        self.key_vectors + self.value_vectors
    }

    /// Bytes of a query's states, running sums and results, and of its levels.
    pub fn row_bytes(&self) -> u64 {
        let levels = if self.bounded { 8 * u64::from(self.key_vectors) } else { 0 };
        16 * u64::from((5 + u32::from(self.saved)) * self.key_vectors + 2 * self.value_vectors) + levels
    }

    /// Patterns that a workgroup goes through, about.
    pub fn span(&self) -> u64 {
        if self.seen == 0 { self.patterns } else { self.seen.min(self.patterns) }
    }

    /// Multiply-adds of the scores.
    pub fn products(&self) -> u64 {
        self.batch.saturating_mul(4 * self.span() * u64::from(self.key_vectors))
    }
}
