//! Room for the answers to a batch, made before any of them is computed.

use super::options::{RetrieveOptions, WeightsOf};
use super::report::{Retrieval, Top};
use crate::error::Result;
use crate::room::{elements, room, zeros};
use crate::store::{Layout, Names};

impl Retrieval {
    /// A retrieval of `batch` queries without answers, and with room for everything that `options` ask for.
    pub(crate) fn with_room(
        operation: &'static str,
        layout: &Layout,
        batch: usize,
        patterns: usize,
        names: &Names,
        options: &RetrieveOptions,
    ) -> Result<Self> {
        fn rows<T>(operation: &'static str, what: &'static str, asked: bool, length: usize) -> Result<Option<Vec<T>>> {
            asked.then(|| room(operation, what, length)).transpose()
        }
        let (dim, value_dim) = (layout.dim, layout.output_dim());
        let k = options.top.min(patterns);
        let weighed = match &options.weights {
            WeightsOf::None => None,
            WeightsOf::All => Some(batch),
            WeightsOf::Queries(queries) => Some(queries.len()),
        };
        let top = match options.top {
            0 => None,
            _ => Some(Top {
                k,
                ids: room(operation, "top patterns", elements(batch, k))?,
                weight: room(operation, "top patterns", elements(batch, k))?,
                similarity: room(operation, "top patterns", elements(batch, k))?,
                found: rows(operation, "counts", options.thresholds.counts(), batch)?,
            }),
        };
        Ok(Self {
            batch,
            dim,
            value_dim,
            patterns,
            output: room(operation, "outputs", elements(batch, value_dim))?,
            state: room(operation, "states", elements(batch, dim))?,
            steps: room(operation, "steps", batch)?,
            change: room(operation, "changes", batch)?,
            converged: room(operation, "convergence", batch)?,
            status: room(operation, "statuses", batch)?,
            clamped: options.clamp.is_some(),
            energy: rows(operation, "energies", options.energy, batch)?,
            energy_trace: rows(operation, "energies", options.trace, batch)?,
            top,
            statistics: rows(operation, "statistics", options.statistics, batch)?,
            weights: weighed.map(|rows| zeros(operation, "weights", elements(rows, patterns))).transpose()?,
            names: names.clone(),
        })
    }
}
