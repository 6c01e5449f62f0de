//! Rows of a memory in host memory or in a file, for a device that does not hold all of them.

use std::fmt;
use std::ops::Range;

use super::encoding::EncodedRows;
use super::rows::Pattern;
use crate::error::Result;

/// The rows of a memory as they are now, whatever is stored later.
pub(crate) trait HostRows: fmt::Debug + Send + Sync {
    /// The first of the rows at `positions`, which are in use: as many as are read at a time.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where they cannot be read, or have changed.
    fn encoded(&self, operation: &'static str, positions: Range<usize>) -> Result<EncodedRows<'_>>;

    /// The pattern at `position`, which is in use.
    ///
    /// # Errors
    /// As [`HostRows::encoded`].
    fn pattern(&self, operation: &'static str, position: usize) -> Result<Pattern>;
}
