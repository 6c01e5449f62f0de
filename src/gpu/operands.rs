//! What the dispatches of one retrieval have in common, and the parts in which they work on queries and patterns: all
//! that the host files of kernels read.

use std::sync::Arc;

use super::buffer::Binding;
use super::patterns::StoredRows;
use super::plan::problem::Problem;
use super::range::QueryRange;
use super::workspace::Workspace;
use crate::rule::{Rule, Separation};
use crate::store::Layout;

/// What every dispatch of a retrieval may read. It owns what it names, so that a retrieval can be carried out piece by
/// piece while the memory changes.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub(crate) struct Operands {
    pub layout: Layout,
    pub rule: Rule,
    /// Whether biases count.
    pub biased: bool,
    pub problem: Problem,
    pub workspace: Arc<Workspace>,
    /// Which patterns queries may use, and what each has of its own.
    pub keep: Option<Keep>,
    /// What of their states queries bring along.
    pub known: Option<Known>,
    /// The number of the first query in its batch.
    pub first_query: u32,
    /// Whether updates end with more than the weighted means.
    pub advances: bool,
    /// Whether they take couplings of coordinates with themselves away; otherwise weights alone are made so.
    pub decouples: bool,
    /// Whether states that come back are looked for.
    pub cycles: bool,
    /// Queries beyond it are not answered.
    pub query_range: QueryRange,
    pub tolerance: f32,
    pub stops_early: bool,
    /// What reports carry to show that they were written.
    pub stamp: u32,
    /// The most workgroups along one dimension of a grid.
    pub max_workgroups: u32,
    /// The bytes of which the offset of a binding is a multiple.
    pub offset_alignment: u32,
}

impl Operands {
    pub fn kernel_rule(&self) -> KernelRule {
        KernelRule::of(self.rule, self.problem.patterns)
    }

    /// Beta in update number `step`, from 1; where queries have betas of their own, what these are multiplied by.
    pub fn beta_of(&self, step: u32) -> f32 {
        let own = self.keep.as_ref().is_some_and(|keep| keep.records);
        let beta = if own { 1.0 } else { self.rule.beta };
        match self.rule.update.schedule {
            None => beta,
            Some(_) => (f64::from(beta) * self.rule.update.factor_of(step, self.rule.beta)) as f32,
        }
    }
}

/// What says which patterns queries may use: records of what each query has of its own, if any, then bits of patterns,
/// if any are masked, `stride` words from one query's to the next's (0 where all queries share them).
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    pub words: Binding,
    /// Whether there are records.
    pub records: bool,
    /// Whether there are bits.
    pub masked: bool,
    /// Where the bits start.
    pub first: u32,
    pub stride: u32,
}

/// What each query brings along besides its coordinates, in `stride` words: a bit for each coordinate, set where it is
/// clamped; a field; and a beta.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub words: Binding,
    pub stride: u32,
    pub clamped: bool,
    /// Where the field and the beta are in a row.
    pub field: Option<u32>,
    pub beta: Option<u32>,
}

/// The rule, as far as kernels tell rules apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KernelRule {
    /// Softmax, with an implicit zero logit where `one_more`.
    Softmax { one_more: bool },
    /// Entmax with `gain = alpha - 1`.
    Entmax { gain: f32 },
    /// Softmax over the `k` largest scores, where there are more.
    Top { k: u32 },
    /// Weights that are not normalised; and whether couplings of coordinates with themselves are taken away.
    Unnormalized { weight: Weight, without_self: bool },
}

/// How a score becomes a weight that is not normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weight {
    /// `z^n`.
    Power(u32),
    /// `max(z, 0)^n`.
    Rectified(u32),
    /// 1 from a threshold on.
    Step(f32),
}

impl KernelRule {
    pub fn of(rule: Rule, patterns: u64) -> Self {
        let of = |weight| Self::Unnormalized { weight, without_self: rule.update.remove_self };
        match rule.separation {
            Separation::Softmax => Self::Softmax { one_more: false },
            Separation::Softmax1 => Self::Softmax { one_more: true },
            Separation::Sparsemax => Self::Entmax { gain: 1.0 },
            Separation::Entmax { alpha } => Self::Entmax { gain: alpha - 1.0 },
            Separation::TopK { k } if k as u64 >= patterns => Self::Softmax { one_more: false },
            Separation::TopK { k } => Self::Top { k: k as u32 },
            Separation::Linear => of(Weight::Power(1)),
            Separation::Power { n } => of(Weight::Power(n)),
            Separation::Rectified { n } => of(Weight::Rectified(n)),
            Separation::Step { threshold } => of(Weight::Step(threshold)),
        }
    }

    /// Whether the weight of a score follows from it while rows are summed, so that no threshold is looked for.
    pub fn weighs_at_once(self) -> bool {
        matches!(self, Self::Softmax { .. } | Self::Unnormalized { .. })
    }

    /// How much larger weights are on the device than they are defined.
    pub fn divisor(self) -> f32 {
        match self {
            Self::Unnormalized { weight: Weight::Power(n) | Weight::Rectified(n), without_self: true } => {
                (n + 1) as f32
            }
            _ => 1.0,
        }
    }

    /// Whether weights at the edge of the support have no finite slope (alpha > 2): thresholds are then found relative
    /// to a pivot.
    pub fn is_steep(self) -> bool {
        matches!(self, Self::Entmax { gain } if gain > 1.0)
    }
}

/// Queries `first .. first + count` of a batch, which the workspace holds at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryBlock {
    pub first: u32,
    pub count: u32,
}

/// Which sums of rows a step asks for, in vectors of four columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    pub keys: u32,
    pub values: u32,
}

impl Sums {
    /// No sums, only the statistics of the weights.
    pub const NONE: Self = Self { keys: 0, values: 0 };

    pub fn columns(self) -> u32 {
        self.keys + self.values
    }
}

/// Rows of one window that one dispatch goes over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    pub rows: &'a StoredRows,
    /// Position of the window's first row.
    pub window_first: u32,
    /// Where the chunk starts within the window.
    pub first_row: u32,
    pub count: u32,
    pub rows_per_split: u32,
    pub splits: u32,
    /// Chunks of the same pass over the patterns that came before.
    pub number: u32,
    /// Whether it is all of its pass.
    pub is_all: bool,
}

impl Chunk<'_> {
    /// Whether it is the first of its pass over the patterns.
    pub fn is_first(&self) -> bool {
        self.number == 0
    }
}
