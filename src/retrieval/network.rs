//! What engines are asked of a network, and what they answer.

use super::report::Status;
use crate::factor::Factor;

/// One update of an iteration, of one of the memories that the engine is given with it.
#[derive(Clone, Debug)]
pub(crate) struct NetworkStep {
    /// The vector that is updated.
    pub target: usize,
    /// The vectors whose product is the query, at least one.
    pub factors: Vec<Factor>,
    pub complex: bool,
}

/// What happens to the vectors of a batch in one iteration. All of it is checked.
#[derive(Clone, Debug)]
pub(crate) struct NetworkRequest {
    pub dim: usize,
    pub batch: usize,
    /// The number of vectors of each query.
    pub vectors: usize,
    /// At least one.
    pub steps: Vec<NetworkStep>,
    /// Whether each sees the vectors as they were before the iteration.
    pub together: bool,
}

/// The vectors after the last iteration, and how that went, per query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkStates {
    /// `batch x dim` each.
    pub vectors: Vec<Vec<f32>>,
    pub steps: Vec<u32>,
    pub change: Vec<f32>,
    pub status: Vec<Status>,
}
