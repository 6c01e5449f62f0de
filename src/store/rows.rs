//! Rows on their way into storage, and a pattern that was read back.

use std::ops::Range;

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
