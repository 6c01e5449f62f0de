//! Which patterns a partial state covers.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::mask::MemoryExtent;
use crate::retrieval::top::MAX_TOP;

/// Which patterns a partial state covers; all that are stored by default.
///
/// ```
/// use attractor::partial::PartialOptions;
/// use attractor::Mask;
/// let second_shard = PartialOptions::default().index_offset(1_000_000);
/// let some = PartialOptions::default().subset(10..20).mask(Mask::keep(&[true; 30]));
/// # let _ = (second_shard, some);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialOptions {
    pub(crate) subset: Option<Range<usize>>,
    pub(crate) mask: Option<Mask>,
    pub(crate) index_offset: u64,
    pub(crate) top: usize,
}

impl PartialOptions {
    /// Covers only the patterns at these positions; by default all.
    pub fn subset(mut self, positions: Range<usize>) -> Self {
        self.subset = Some(positions);
        self
    }

    /// Covers, of these, only the patterns that each query may use. A pattern that the mask excludes does not exist for
    /// that query.
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Adds `offset` to positions where ties are broken by index (top-k) and where patterns are reported, so that
    /// shards of one memory, of which each starts where the one before ends, break ties as one memory does; 0 by
    /// default.
    pub fn index_offset(mut self, offset: u64) -> Self {
        self.index_offset = offset;
        self
    }

    /// Keeps this many patterns of largest score, at most [`MAX_TOP`], none at 0, the default: of all merged parts,
    /// those of largest weight are reported ([`MergedRetrieval::top`](super::MergedRetrieval::top)). Parts that are
    /// merged keep the same number.
    ///
    /// ```
    /// use attractor::partial::PartialOptions;
    /// use attractor::{Device, Memory, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(3.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])?;
    /// let best = PartialOptions::default().top(2);
    /// let part = |subset| memory.retrieve_partial_blocking(&[0.0, 1.0], &best.clone().subset(subset));
    /// let merged = part(0..2)?.remove(0).merge(part(2..3)?.remove(0))?.finish();
    /// assert_eq!(merged.top.iter().map(|pattern| pattern.index).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn top(mut self, patterns: usize) -> Self {
        self.top = patterns;
        self
    }

    /// What [`PartialOptions::subset`] set.
    pub fn get_subset(&self) -> Option<Range<usize>> {
        self.subset.clone()
    }

    /// What [`PartialOptions::mask`] set.
    pub fn get_mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// What [`PartialOptions::index_offset`] set.
    pub fn get_index_offset(&self) -> u64 {
        self.index_offset
    }

    /// What [`PartialOptions::top`] set.
    pub fn get_top(&self) -> usize {
        self.top
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
        if self.top > MAX_TOP {
            let (parameter, expected, got) = ("top", "at most 1024", self.top.to_string());
            return Err(Error::Parameter { operation, parameter, expected, got });
        }
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(operation, batch, memory))
    }
}
