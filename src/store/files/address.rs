//! Which tensor of which file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a tensor is: `file.npy`, or `file.safetensors:tensor`.
///
/// ```
/// use attractor::files::Address;
/// let keys: Address = "model.safetensors:layer.keys".parse()?;
/// assert_eq!(keys, Address::safetensors("model.safetensors", "layer.keys"));
/// assert_eq!(keys.tensor(), Some("layer.keys"));
/// assert!("model.safetensors".parse::<Address>().is_err()); // which tensor?
/// # Ok::<(), attractor::files::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    path: PathBuf,
    tensor: Option<String>,
}

/// Text that is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected file.npy or file.safetensors:tensor")]
pub struct AddressError;

impl Address {
    /// The one tensor of a NumPy file, whatever its name.
    pub fn npy(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), tensor: None }
    }

    /// A tensor of a safetensors file, whatever its name.
    pub fn safetensors(path: impl Into<PathBuf>, tensor: impl Into<String>) -> Self {
        Self { path: path.into(), tensor: Some(tensor.into()) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor's name, where the file may hold several.
    pub fn tensor(&self) -> Option<&str> {
        self.tensor.as_deref()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        const ENDING: &str = ".safetensors:";
        if text.to_ascii_lowercase().ends_with(".npy") {
            return Ok(Self::npy(text));
        }
        // Not the first colon: a Windows path has one after its drive.
        match text.to_ascii_lowercase().find(ENDING) {
            Some(at) if text.len() > at + ENDING.len() => {
                let (path, tensor) = (&text[..at + ENDING.len() - 1], &text[at + ENDING.len()..]);
                Ok(Self::safetensors(path, tensor))
            }
            _ => Err(AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.tensor.as_ref().map_or(Ok(()), |tensor| write!(f, ":{tensor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_file_or_a_file_and_a_tensor() {
        let parse = |text: &str| text.parse::<Address>();
        assert_eq!(parse("a/b.npy"), Ok(Address::npy("a/b.npy")));
        assert_eq!(parse(r"C:\m.safetensors:x:y"), Ok(Address::safetensors(r"C:\m.safetensors", "x:y")));
        for bad in ["", "a", "a.safetensors", "a.safetensors:", "a.bin:keys"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
