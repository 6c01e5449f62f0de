//! The row layout of a memory.

use crate::precision::Precision;
use crate::rule::Similarity;

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

    /// Whether keys that are compared by `similarity` are kept in 8 bits beside their rows, too, because their scores
    /// have bounds from them. Manhattan has none: the magnitudes of its terms do not follow from sums of products.
    pub fn keeps_levels(&self, similarity: Similarity) -> bool {
        self.precision == Precision::I8Exact && similarity != Similarity::Manhattan
    }

    /// The width of an output: `dv`, or `d` where keys are their own values.
    pub fn output_dim(&self) -> usize {
        self.value_dim.unwrap_or(self.dim)
    }
}
