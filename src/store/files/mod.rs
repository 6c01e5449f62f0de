//! Tensors and memories in files.
//!
//! A tensor is read from `file.npy` or `file.safetensors:tensor` ([`Address`]), mapped rather than loaded ([`Tensor`]);
//! [`PatternFiles`] joins the keys, values and biases that [`Memory::import`](crate::Memory::import) stores.
//! Whatever is written is written in full or not at all ([`write_whole`], [`write_tensors`]).

mod address;
mod map;
mod npy;
mod patterns;
mod safetensors;
mod tensor;
mod write;

use std::ops::Range;
use std::path::Path;

pub use address::{Address, AddressError};
pub use patterns::PatternFiles;
pub use tensor::{Dtype, Role, Tensor};
pub use write::{NewTensor, check_target, write_tensors, write_whole};

use crate::error::Error;

/// A tensor's place in a file, as the file's own header has it.
struct Located {
    /// As the file spells it.
    dtype: String,
    shape: Vec<usize>,
    /// Bytes of the file.
    data: Range<usize>,
}

/// A shape as messages have it.
fn shape_text(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".into(),
        [one] => format!("({one},)"),
        _ => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "),
    }
}

/// The error of a file whose contents are not what they should be.
fn unfit(operation: &'static str, path: &Path, why: String) -> Error {
    Error::File { operation, path: path.to_owned(), why, source: None }
}

/// For `map_err` on what `std::fs` returns; `action` is a verb.
fn refused(operation: &'static str, path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File {
        operation,
        path: path.to_owned(),
        why: format!("{}: cannot {action}: {source}", path.display()),
        source: Some(source),
    }
}
