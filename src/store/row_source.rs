//! Rows that stay where they are, such as in a file, and are read whenever they are needed.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;

/// The keys, or the values, of a memory.
pub(crate) trait RowSource: fmt::Debug + Send + Sync {
    /// Fills `to` with whole rows from row `first` on, as windows hold them: each padded with zeros to whole vectors of
    /// four elements. Where they cannot be read, it has zeros, and [`RowSource::check`] fails from then on: rows are
    /// read where no error can be returned.
    fn fill(&self, first: usize, to: &mut [u8]);

    /// Whether all that was read is what the memory was opened with.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where a row could not be read, or the rows have changed since.
    fn check(&self, operation: &'static str) -> Result<()>;
}

/// Where the rows of a memory are, if they are not in memory of this process.
#[derive(Clone, Debug)]
pub(crate) struct RowSources {
    pub keys: Arc<dyn RowSource>,
    /// Exactly where the layout has a value dimension.
    pub values: Option<Arc<dyn RowSource>>,
}

impl RowSources {
    /// [`RowSource::check`] of keys and values.
    pub fn check(&self, operation: &'static str) -> Result<()> {
        self.keys.check(operation)?;
        self.values.as_ref().map_or(Ok(()), |values| values.check(operation))
    }
}
