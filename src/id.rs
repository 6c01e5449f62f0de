//! The names by which callers know stored patterns.

use std::ops::Range;

/// Names one stored pattern for as long as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternId(pub u64);

/// The ids of the patterns of one `add`, in the order in which they were given: consecutive numbers.
///
/// ```
/// use attractor::{Device, Memory, PatternId, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
/// let ids = memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// assert_eq!((ids.len(), ids.get(1)), (2, Some(PatternId(1))));
/// for id in &ids {
///     assert!(memory.contains(id));
/// }
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternIds {
    start: u64,
    end: u64,
}

impl PatternIds {
    pub(crate) fn new(range: Range<u64>) -> Self {
        Self { start: range.start, end: range.end }
    }

    /// How many patterns were added.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing was added.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The id of the `i`-th pattern of the `add`.
    pub fn get(self, i: usize) -> Option<PatternId> {
        let id = self.start.checked_add(i as u64)?;
        (id < self.end).then_some(PatternId(id))
    }

    /// The ids, in order.
    pub fn iter(self) -> PatternIdsIter {
        (self.start..self.end).map(PatternId as fn(u64) -> PatternId)
    }
}

/// The iterator over [`PatternIds`].
pub type PatternIdsIter = std::iter::Map<Range<u64>, fn(u64) -> PatternId>;

impl IntoIterator for PatternIds {
    type Item = PatternId;
    type IntoIter = PatternIdsIter;

    fn into_iter(self) -> PatternIdsIter {
        self.iter()
    }
}

impl IntoIterator for &PatternIds {
    type Item = PatternId;
    type IntoIter = PatternIdsIter;

    fn into_iter(self) -> PatternIdsIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_add_are_consecutive() {
        let ids = PatternIds::new(5..8);
        assert_eq!(ids.iter().next(), Some(PatternId(5)));
        assert_eq!((ids.len(), ids.get(0), ids.get(2), ids.get(3)), (3, Some(PatternId(5)), Some(PatternId(7)), None));
        assert_eq!(ids.get(usize::MAX), None);
        assert_eq!((&ids).into_iter().rev().map(|id| id.0).collect::<Vec<_>>(), [7, 6, 5]);
    }
}
