//! Texts that name nothing.

use crate::error::Error;

/// The error of `operation` for a text that is no `parameter`.
pub(super) fn no_such(operation: &'static str, parameter: &'static str, expected: &'static str, text: &str) -> Error {
    Error::Parameter { operation, parameter, expected, got: format!("{text:?}") }
}
