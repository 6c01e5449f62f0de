//! The buffers that hold the patterns of one window on the device.

use super::buffer::Binding;

/// Rows of one window, padded as [`Layout`](crate::store::Layout) says.
#[derive(Clone, Debug)]
pub(crate) struct StoredRows {
    pub keys: Binding,
    pub values: Option<Binding>,
    /// Four floats for each row: the factor of its similarity (1, or under cosine the inverse norm), its bias, and the
    /// scales of its key and value. Absent where every row would have 1, 0, 1, 1.
    pub terms: Option<Binding>,
}
