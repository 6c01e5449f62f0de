//! Errors about files.

use std::path::Path;

use crate::error::Error;

/// The error of a file whose contents are not what they should be.
pub(crate) fn unfit(operation: &'static str, path: &Path, why: String) -> Error {
    Error::File { operation, path: path.to_owned(), why, source: None }
}

/// For `map_err` on what `std::fs` returns; `action` is a verb.
pub(crate) fn refused(
    operation: &'static str,
    path: &Path,
    action: &'static str,
) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File {
        operation,
        path: path.to_owned(),
        why: format!("{}: cannot {action}: {source}", path.display()),
        source: Some(source),
    }
}
