//! Which patterns a partial state covers.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::mask::MemoryExtent;

/// Which patterns a partial state covers; all that are stored by default.
///
/// ```
/// use attractor::{Mask, PartialOptions};
/// let second_shard = PartialOptions::default().first_id(1_000_000);
/// let some = PartialOptions::default().subset(10..20).mask(Mask::keep(&[true; 30]));
/// # let _ = (second_shard, some);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialOptions {
    /// Only the patterns at these positions; all when absent.
    pub subset: Option<Range<usize>>,
    /// Of these, only the ones that each query may use. A pattern that the mask excludes is not covered: for that query
    /// it does not exist.
    pub mask: Option<Mask>,
    /// Added to positions where ties are broken by index (top-k), so that shards of one memory, of which each starts
    /// where the one before ends, break ties as one memory does.
    pub first_id: u64,
}

impl PartialOptions {
    /// Sets [`PartialOptions::subset`].
    pub fn subset(mut self, positions: Range<usize>) -> Self {
        self.subset = Some(positions);
        self
    }

    /// Sets [`PartialOptions::mask`].
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Sets [`PartialOptions::first_id`].
    pub fn first_id(mut self, id: u64) -> Self {
        self.first_id = id;
        self
    }

    /// The positions of the subset, of `positions` in all.
    pub(crate) fn range(&self, positions: usize) -> Range<usize> {
        self.subset.clone().unwrap_or(0..positions)
    }

    /// Refuses options that do not fit `batch` queries of `memory`.
    pub(crate) fn validate(&self, operation: &'static str, batch: usize, memory: &MemoryExtent) -> Result<()> {
        let positions = memory.patterns;
        let subset = self.range(positions);
        if subset.start > subset.end || subset.end > positions {
            return Err(Error::Parameter {
                operation,
                parameter: "subset",
                expected: "a rising range of positions of the memory",
                got: format!("{subset:?} of {positions}"),
            });
        }
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(operation, batch, memory))
    }
}
