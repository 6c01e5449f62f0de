//! Stored patterns: their row layout, the windows that hold them, and the ids by which callers know them.

mod windows;

pub(crate) use windows::{Window, Windows};

/// Names one stored pattern for as long as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternId(pub u64);

/// The ids of the patterns of one `add`, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternIds {
    pub(crate) range: std::ops::Range<u64>,
}

impl PatternIds {
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
        self.range.clone().nth(i).map(PatternId)
    }
}

impl Iterator for PatternIds {
    type Item = PatternId;
    fn next(&mut self) -> Option<PatternId> {
        self.range.next().map(PatternId)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

/// The row layout of keys and values: each row is padded with zeros to whole vectors of four floats, so that shaders
/// load `vec4<f32>` and padding adds nothing to any sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// `d`.
    pub dim: usize,
    /// `dv`, when values are stored beside the keys.
    pub value_dim: Option<usize>,
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

/// Copies tight rows of `columns` into rows of `stride(columns)`, zero-padded. Borrows where nothing needs to move.
pub(crate) fn pad_rows(rows: &[f32], columns: usize) -> std::borrow::Cow<'_, [f32]> {
    let stride = stride(columns);
    if stride == columns {
        return rows.into();
    }
    let mut padded = vec![0.0; rows.len() / columns * stride];
    for (from, to) in rows.chunks_exact(columns).zip(padded.chunks_exact_mut(stride)) {
        to[..columns].copy_from_slice(from);
    }
    padded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_keeps_the_values_and_adds_zeros() {
        assert_eq!(&*pad_rows(&[1.0, 2.0, 3.0, 4.0], 2), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
        assert!(matches!(pad_rows(&[1.0; 8], 4), std::borrow::Cow::Borrowed(_)));
    }

    #[test]
    fn ids_of_one_add_are_consecutive() {
        let ids = PatternIds { range: 5..8 };
        assert_eq!((ids.len(), ids.get(2), ids.get(3)), (3, Some(PatternId(7)), None));
        assert_eq!(ids.map(|id| id.0).collect::<Vec<_>>(), [5, 6, 7]);
    }
}
