//! How softmax can be computed on a GPU, and what tests and measurements set beside the options of a retrieval.

/// How the queries of a batch are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Every stage fused over splits of the patterns: reads each pattern once for few queries.
    FusedStream,
    /// Every stage fused over splits of the patterns, each invocation with queries of its own in registers: shares each
    /// pattern among many queries that are narrow enough.
    FusedRegister,
    /// Every stage fused over splits of the patterns, products by cooperative matrices of halves: shares each pattern
    /// among many queries, where patterns are stored as halves and the device multiplies such matrices.
    FusedMatrix,
    /// Stage by stage over chunks of scores: shares each pattern among many queries of any width.
    Staged,
}

impl Strategy {
    /// Its kernel's name, or that of the strategy where there are several kernels, and what it does.
    pub fn describe(self) -> &'static str {
        match self {
            Self::FusedStream => "fused_stream: every stage fused over splits of the patterns",
            Self::FusedRegister => "fused_register: every stage fused, and each invocation has queries of its own",
            Self::FusedMatrix => "fused_matrix: every stage fused, products by cooperative matrices of halves",
            Self::Staged => "staged: stage by stage over chunks of scores",
        }
    }
}

/// Overrides of a plan. Any setting gives a right answer; sizes are rounded to what the kernels take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// The strategy, where it serves.
    pub strategy: Option<Strategy>,
    /// Patterns of one split.
    pub rows_per_split: Option<u32>,
    /// Splits of one dispatch.
    pub splits: Option<u32>,
    /// Queries of one pass over the memory.
    pub query_block: Option<u32>,
    /// Queries of one invocation of a tile: 4, or 8.
    pub queries_per_invocation: Option<u32>,
    /// Whether bounds from keys in 8 bits list candidates, where they serve.
    pub bounds: Option<bool>,
}

/// Faults that tests inject, to show that they are noticed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Allocate fresh workspace filled with poison: nothing may read what it did not write.
    pub poison: bool,
    /// Lift the limit on loop iterations: it is needed.
    pub unbounded: bool,
    /// Set one constant of one kernel, by name, whatever the plan says: a wrong kernel is caught.
    pub constant: Option<(&'static str, (&'static str, u32))>,
}

impl Faults {
    /// None.
    pub const NONE: Self = Self { poison: false, unbounded: false, constant: None };
    /// Poison in the workspace.
    pub const POISON: Self = Self { poison: true, ..Self::NONE };
}
