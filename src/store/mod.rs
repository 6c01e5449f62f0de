//! Stored patterns: their row layout, the windows that hold them, and the ids by which callers know them.

#[cfg(feature = "files")]
pub mod files;
mod ids;
mod precision;
mod snapshots;
mod windows;

use std::ops::Range;

pub(crate) use ids::{Alive, Ids, Names, View};
pub(crate) use precision::{Encoded, EncodedRows, check_halves, decode, half_of, quantize};
pub(crate) use snapshots::{Snapshot, Snapshots};
pub(crate) use windows::{Growth, Window, Windows};

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatternIds {
    range: Range<u64>,
}

impl PatternIds {
    pub(crate) fn new(range: Range<u64>) -> Self {
        Self { range }
    }

    /// How many patterns were added.
    pub fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The id of the `i`-th pattern of the `add`.
    pub fn get(&self, i: usize) -> Option<PatternId> {
        let id = self.range.start.checked_add(i as u64)?;
        (id < self.range.end).then_some(PatternId(id))
    }

    /// The ids, in order.
    pub fn iter(&self) -> PatternIdsIter {
        self.range.clone().map(PatternId as fn(u64) -> PatternId)
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

/// How keys and values are stored. Sums are `f32` whatever the storage.
///
/// What rounding costs depends on the patterns. Measured on 12,000 sentence embeddings of 384 dimensions and norm 1
/// (`examples/packages.rs`), the nearest by cosine is the one that exact search finds for 1,000 of 1,000 queries in `F32`
/// and `F16`, and for 998 in `I8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As given.
    #[default]
    F32,
    /// Rounded to the nearest half: 11 bits, magnitudes up to 65,504 and down to 6e-8. A row with a magnitude that
    /// rounds beyond, from 65,520 on, is refused unless [`MemoryOptions::saturate`](crate::MemoryOptions::saturate)
    /// asks for the largest half instead. Magnitudes up to 3e-8 become zero.
    F16,
    /// Rounded to 255 levels between plus and minus the row's largest magnitude, with one `f32` scale per row. Every
    /// finite row is in range; one whose largest magnitude is below 1.5e-36 becomes zeros, for its scale would be
    /// subnormal.
    I8,
}

/// Rows that have been checked and are about to be stored, tight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRows<'a> {
    /// `n x d`.
    pub keys: &'a [f32],
    /// `n x dv`, exactly where the layout has a value dimension.
    pub values: Option<&'a [f32]>,
    /// `n`; zeros when absent.
    pub bias: Option<&'a [f32]>,
}

impl<'a> NewRows<'a> {
    /// Rows `range` of these.
    pub fn slice(&self, range: Range<usize>, dim: usize, value_dim: Option<usize>) -> NewRows<'a> {
        let rows = |of: &'a [f32], columns: usize| &of[range.start * columns..range.end * columns];
        NewRows {
            keys: rows(self.keys, dim),
            values: self.values.map(|values| rows(values, value_dim.unwrap_or(dim))),
            bias: self.bias.map(|bias| &bias[range.clone()]),
        }
    }
}

/// One pattern as it is stored, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// `d` floats, as the storage's precision has them.
    pub key: Vec<f32>,
    /// `dv` floats, where the memory has values.
    pub value: Option<Vec<f32>>,
    /// What is added to the pattern's score.
    pub bias: f32,
}

/// The row layout of keys and values: each row is padded with zeros to whole vectors of four floats, so that shaders
/// load `vec4<f32>` and padding adds nothing to any sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// `d`.
    pub dim: usize,
    /// `dv`, when values are stored beside the keys.
    pub value_dim: Option<usize>,
    /// How rows are stored.
    pub precision: Precision,
    /// Whether patterns have a bias.
    pub bias: bool,
    /// The most rows that one window may hold.
    pub max_rows: usize,
}

/// Floats from one row to the next.
pub(crate) const fn stride(columns: usize) -> usize {
    columns.next_multiple_of(4)
}

impl Layout {
    pub fn key_stride(&self) -> usize {
        stride(self.dim)
    }

    pub fn value_stride(&self) -> usize {
        self.value_dim.map_or(0, stride)
    }

    /// The width of an output: `dv`, or `d` where keys are their own values.
    pub fn output_dim(&self) -> usize {
        self.value_dim.unwrap_or(self.dim)
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
