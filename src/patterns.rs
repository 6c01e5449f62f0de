//! Rows that callers hand in.

use crate::error::{Error, Result};

/// Rows to store: `n` keys, and what goes with them.
#[derive(Clone, Copy, Debug)]
pub struct Patterns<'a> {
    /// `n x d`, row-major.
    pub keys: &'a [f32],
    /// `n x dv`, row-major, exactly where the memory has a value dimension.
    pub values: Option<&'a [f32]>,
    /// `n` scores to add, zeros when absent; only where the memory was built with
    /// [`MemoryOptions::bias`](crate::MemoryOptions::bias).
    pub bias: Option<&'a [f32]>,
}

/// Keys that are their own values.
impl<'a> From<&'a [f32]> for Patterns<'a> {
    fn from(keys: &'a [f32]) -> Self {
        Self { keys, values: None, bias: None }
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Patterns<'a> {
    fn from(keys: &'a [f32; N]) -> Self {
        Self::from(&keys[..])
    }
}

impl<'a> From<&'a Vec<f32>> for Patterns<'a> {
    fn from(keys: &'a Vec<f32>) -> Self {
        Self::from(&keys[..])
    }
}

/// The number of rows of `dim` in a slice.
pub(crate) fn rows(operation: &'static str, what: &str, slice: &[f32], dim: usize) -> Result<usize> {
    if slice.len().is_multiple_of(dim) {
        return Ok(slice.len() / dim);
    }
    Err(Error::Shape {
        operation,
        expected: format!("{what} as whole rows of {dim} floats"),
        got: format!("{} floats, {} too many", slice.len(), slice.len() % dim),
    })
}
