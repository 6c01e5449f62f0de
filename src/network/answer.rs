//! What a network reports.

use super::VectorId;
use crate::retrieval::network::NetworkStates;
use crate::retrieval::report::Status;

/// The states of a network after its last iteration, for `B` queries.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkRetrieval {
    /// `B`, the number of queries.
    pub batch: usize,
    /// `d`, the width of a vector.
    pub dim: usize,
    /// Iterations done, per query.
    pub steps: Vec<u32>,
    /// The largest change of a coordinate of a state in the last iteration, per query.
    pub change: Vec<f32>,
    /// Whether `change` is within the tolerance and there is an answer, per query.
    pub converged: Vec<bool>,
    /// Whether there is an answer, per query. An update of the last iteration without a pattern left gives
    /// [`Status::NothingLeft`]; a product or a state beyond the range in which the device computes right answers gives
    /// [`Status::OutOfRange`]; states that repeat an earlier iteration give [`Status::Cycle`], if every update ends in
    /// signs or in maxima of blocks and queries may stop early.
    pub status: Vec<Status>,
    vectors: Vec<Vec<f32>>,
}

impl NetworkRetrieval {
    pub(super) fn new(dim: usize, tolerance: f32, states: NetworkStates) -> Self {
        let NetworkStates { vectors, steps, change, status } = states;
        let answered = |status: &Status| !matches!(status, Status::OutOfRange | Status::NotFinite);
        let converged =
            change.iter().zip(&status).map(|(change, status)| *change <= tolerance && answered(status)).collect();
        Self { batch: steps.len(), dim, steps, change, converged, status, vectors }
    }

    /// A vector of every query, `B x d`, row-major: a state as the last iteration left it, an input as it was given.
    ///
    /// # Panics
    /// If `vector` is of a larger network.
    pub fn state(&self, vector: VectorId) -> &[f32] {
        &self.vectors[vector.0]
    }

    /// A vector of query `b`, `d` coordinates.
    ///
    /// # Panics
    /// If `vector` is of a larger network, or `b` is not below [`NetworkRetrieval::batch`].
    pub fn state_row(&self, vector: VectorId, b: usize) -> &[f32] {
        &self.vectors[vector.0][b * self.dim..(b + 1) * self.dim]
    }
}
