//! Metadata: JSON texts.

use crate::error::{Error, Result};
use crate::room::room;

/// How deep arrays and objects may be nested: what `serde_json` parses.
#[cfg(feature = "files")]
const MAX_NESTING: usize = 127;

/// Why `text` is no JSON, or none that is kept: nested deeper than the parser goes. Without the feature `files` nothing
/// can be given metadata.
pub(super) fn check_json(text: &str) -> Result<(), String> {
    #[cfg(feature = "files")]
    return serde_json::from_str::<serde_json::Value>(text).map(|_| ()).map_err(|error| {
        let why = error.to_string();
        match why.strip_prefix("recursion limit exceeded") {
            Some(place) => format!("arrays and objects are nested deeper than {MAX_NESTING}{place}"),
            None => why,
        }
    });
    #[cfg(not(feature = "files"))]
    Err(format!("{} bytes, and metadata need the feature `files`", text.len()))
}

/// The metadata of the `entry`-th entry, to be kept.
///
/// # Errors
/// [`Error::Parameter`] for what is no JSON.
pub(super) fn checked_text(operation: &'static str, entry: usize, text: Option<&str>) -> Result<Option<Box<str>>> {
    let refuse = |why| {
        let got = format!("other text for entry {entry}: {why}");
        Error::Parameter { operation, parameter: "metadata", expected: "JSON", got }
    };
    text.map(|text| check_json(text).map(|()| text.into()).map_err(refuse)).transpose()
}

/// The metadata of `rows` entries, where they were given any.
///
/// # Errors
/// [`Error::Shape`] for another number, and as [`checked_text`].
pub(super) fn checked_texts(
    operation: &'static str,
    texts: Option<&[Option<&str>]>,
    rows: usize,
) -> Result<Option<Vec<Option<Box<str>>>>> {
    let Some(texts) = texts else { return Ok(None) };
    if texts.len() != rows {
        let expected = format!("metadata of {rows} entries, one for each key");
        return Err(Error::Shape { operation, expected, got: texts.len().to_string() });
    }
    let mut all = room(operation, "metadata", rows)?;
    for (entry, text) in texts.iter().enumerate() {
        all.push(checked_text(operation, entry, *text)?);
    }
    Ok(Some(all))
}
