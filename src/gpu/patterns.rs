//! Rows of patterns as they lie on the device.

use super::buffer::Binding;

/// Rows of one window on the device, padded as [`Layout`] says.
#[derive(Clone, Debug)]
pub(crate) struct StoredRows {
    pub keys: Binding,
    pub values: Option<Binding>,
    /// Four floats a row: the factor of its similarity (1, or under cosine the inverse norm), its bias, and the scales of
    /// its key and value. Absent where all of them would be trivial.
    pub terms: Option<Binding>,
}
