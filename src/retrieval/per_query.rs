//! What each query of a retrieval has of its own.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::finite::check_finite;
use crate::id::PatternId;
use crate::mask::MemoryExtent;
use crate::room::copy;

/// What each query has of its own, beside masks and clamped coordinates; whatever is absent is the same for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PerQuery {
    /// `B x d`.
    pub field: Option<Vec<f32>>,
    /// `B`.
    pub betas: Option<Vec<f32>>,
    /// `B`.
    pub exclude: Option<Vec<Option<PatternId>>>,
    /// `B`.
    pub rows: Option<Vec<Range<usize>>>,
}

impl PerQuery {
    /// A copy, or an error where the host has no room for it.
    pub fn try_clone(&self, operation: &'static str) -> Result<Self> {
        Ok(Self {
            field: self.field.as_deref().map(|field| copy(operation, "field", field)).transpose()?,
            betas: self.betas.as_deref().map(|betas| copy(operation, "betas", betas)).transpose()?,
            exclude: self.exclude.as_deref().map(|ids| copy(operation, "exclude", ids)).transpose()?,
            // A range is not `Copy`.
            rows: self.rows.clone(),
        })
    }

    /// Refuses what does not fit a batch of `batch` queries against `memory`.
    pub fn validate(&self, operation: &'static str, batch: usize, memory: &MemoryExtent) -> Result<()> {
        let MemoryExtent { dim, patterns, .. } = *memory;
        let shape = |expected: String, got: String| Err(Error::Shape { operation, expected, got });
        if let Some(field) = &self.field {
            if batch.checked_mul(dim) != Some(field.len()) {
                let floats = batch as u128 * dim as u128;
                return shape(
                    format!("a field of {batch} x {dim} = {floats} floats"),
                    format!("{} floats", field.len()),
                );
            }
            check_finite(operation, "field", field, dim)?;
        }
        if let Some(betas) = &self.betas {
            if betas.len() != batch {
                return shape(format!("{batch} betas, one for each query"), betas.len().to_string());
            }
            check_finite(operation, "betas", betas, 1)?;
        }
        if let Some(ids) = &self.exclude
            && ids.len() != batch
        {
            return shape(format!("{batch} patterns to leave out, one for each query, or none"), ids.len().to_string());
        }
        if let Some(rows) = &self.rows {
            if rows.len() != batch {
                return shape(format!("{batch} ranges of positions, one for each query"), rows.len().to_string());
            }
            if let Some(range) = rows.iter().find(|range| range.start > range.end || range.end > patterns) {
                return Err(Error::Parameter {
                    operation,
                    parameter: "rows",
                    expected: "ranges of positions of the memory, none of which ends before it starts",
                    got: format!("{range:?} of {patterns}"),
                });
            }
        }
        Ok(())
    }
}
