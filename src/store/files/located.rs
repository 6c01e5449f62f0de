//! Where the header of a file says that a tensor lies.

use std::ops::Range;

use super::dtype::Dtype;

/// A tensor's place in a file, as the file's own header has it.
pub(super) struct Located {
    /// `None` for a dtype that no tensor here has.
    pub dtype: Option<Dtype>,
    /// The dtype as the file spells it. One format's spelling means nothing in another.
    pub spelling: String,
    pub shape: Vec<usize>,
    /// Bytes of the file.
    pub data: Range<u64>,
}

/// A shape as messages have it.
pub(super) fn shape_text(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".into(),
        [one] => format!("({one},)"),
        _ => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "),
    }
}
