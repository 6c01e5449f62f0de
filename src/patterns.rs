//! Rows that callers hand in.

use crate::error::{Error, Result};

/// Rows to store: `n` keys, and what belongs to them.
///
/// ```
/// use attractor::{Device, MemoryOptions, Patterns, Rule};
/// let mut memory = MemoryOptions::new(2, Rule::softmax(1.0)).value_dim(1).bias().build(&Device::cpu())?;
/// memory.add(Patterns::new(&[1.0, 0.0, 0.0, 1.0]).values(&[5.0, 7.0]).bias(&[0.0, 2.0]))?;
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Patterns<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: Option<&'a [f32]>,
    pub(crate) bias: Option<&'a [f32]>,
}

impl<'a> Patterns<'a> {
    /// Keys, `n x d`, row-major, that are their own values.
    pub fn new(keys: &'a [f32]) -> Self {
        Self { keys, values: None, bias: None }
    }

    /// Gives the keys values, `n x dv`, row-major: exactly where the memory has a value dimension
    /// ([`MemoryOptions::value_dim`](crate::MemoryOptions::value_dim)).
    pub fn values(mut self, values: &'a [f32]) -> Self {
        self.values = Some(values);
        self
    }

    /// Gives the keys `n` scores to add, zeros by default; only where the memory was built with
    /// [`MemoryOptions::bias`](crate::MemoryOptions::bias).
    pub fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// The keys.
    pub fn keys(&self) -> &'a [f32] {
        self.keys
    }

    /// What [`Patterns::values`] set.
    pub fn get_values(&self) -> Option<&'a [f32]> {
        self.values
    }

    /// What [`Patterns::bias`] set.
    pub fn get_bias(&self) -> Option<&'a [f32]> {
        self.bias
    }
}

/// Keys that are their own values.
impl<'a> From<&'a [f32]> for Patterns<'a> {
    fn from(keys: &'a [f32]) -> Self {
        Self::new(keys)
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
