//! How far a long operation is, and whether it should go on.

use std::ops::ControlFlow;

use crate::error::{Error, Result};

/// How far an operation over many patterns is. Callbacks get it after each block of patterns and return
/// [`ControlFlow::Continue`], or [`ControlFlow::Break`] to cancel: the operation then fails with
/// [`Error::Cancelled`](crate::Error::Cancelled), and the memory, or the file that was to be replaced, is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Patterns that are done. The last call has `total` here; a `Break` from it still cancels.
    pub done: usize,
    /// Patterns of the whole operation. When a memory is saved or loaded, positions of removed patterns are among them.
    pub total: usize,
}

/// The callback of one operation.
pub(crate) struct Reporter<F> {
    operation: &'static str,
    total: usize,
    callback: F,
}

impl<F: FnMut(Progress) -> ControlFlow<()>> Reporter<F> {
    pub fn new(operation: &'static str, total: usize, callback: F) -> Self {
        Self { operation, total, callback }
    }

    /// Reports that `done` patterns are done.
    ///
    /// # Errors
    /// [`Error::Cancelled`] where the callback says so.
    pub fn report(&mut self, done: usize) -> Result<()> {
        match (self.callback)(Progress { done, total: self.total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                Err(Error::Cancelled { operation: self.operation, why: "the progress callback returned Break" })
            }
        }
    }
}

/// A callback that never cancels.
pub(crate) fn proceed(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
