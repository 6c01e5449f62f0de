//! The rows of weights that a retrieval reports in full.

use std::sync::{Mutex, MutexGuard};

use crate::error::Result;
use crate::retrieval::weight_queries::WeightQueries;
use crate::room::room;
use crate::sync::lock;

/// The rows of weights that are asked for, each written by the thread that answers its query.
pub(super) struct WeightRows<'a> {
    weighed: &'a WeightQueries,
    rows: Vec<Mutex<&'a mut [f32]>>,
}

impl<'a> WeightRows<'a> {
    /// Rows of `patterns` zeros side by side, in the order in which they were asked for.
    pub fn new(
        operation: &'static str,
        weighed: &'a WeightQueries,
        weights: &'a mut [f32],
        patterns: usize,
    ) -> Result<Self> {
        let mut rows = room(operation, "rows of weights", weights.len() / patterns)?;
        rows.extend(weights.chunks_exact_mut(patterns).map(Mutex::new));
        Ok(Self { weighed, rows })
    }

    /// Whether the weights of `query` are asked for.
    pub fn has(&self, query: usize) -> bool {
        self.weighed.place(query).is_some()
    }

    /// The row of `query`, if it is asked for; the first, if it is asked for more than once.
    pub fn row(&self, query: usize) -> Option<MutexGuard<'_, &'a mut [f32]>> {
        self.weighed.place(query).map(|place| lock(&self.rows[place]))
    }
}
