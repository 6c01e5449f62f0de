//! Files that are written.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::Dtype;

use super::located::shape_text;
use super::safetensors::Frame;
use crate::error::Result;
use crate::file_error::{refused, unfit};
use crate::{atomic_file, regular_file};

/// A tensor to be written, row-major.
#[derive(Clone, Debug)]
pub struct NewTensor<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> NewTensor<'a> {
    /// A tensor of f32.
    pub fn f32(name: &'a str, shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        let bytes = little_endian(values.into(), |v| v.to_le_bytes());
        Self { name, dtype: Dtype::F32, shape: shape.into(), bytes }
    }

    /// A tensor of u32.
    pub fn u32(name: &'a str, shape: &[usize], values: impl Into<Cow<'a, [u32]>>) -> Self {
        let bytes = little_endian(values.into(), |v| v.to_le_bytes());
        Self { name, dtype: Dtype::U32, shape: shape.into(), bytes }
    }

    /// A tensor of u64.
    pub fn u64(name: &'a str, shape: &[usize], values: impl Into<Cow<'a, [u64]>>) -> Self {
        let bytes = little_endian(values.into(), |v| v.to_le_bytes());
        Self { name, dtype: Dtype::U64, shape: shape.into(), bytes }
    }

    /// A tensor of u8, 1 where true.
    pub fn bool(name: &'a str, shape: &[usize], values: &[bool]) -> Self {
        let bytes = values.iter().map(|&v| u8::from(v)).collect();
        Self { name, dtype: Dtype::U8, shape: shape.into(), bytes }
    }
}

/// Name and shape: `output 2 x 4`.
impl fmt::Display for NewTensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, shape_text(&self.shape))
    }
}

fn little_endian<T: bytemuck::NoUninit, const N: usize>(
    values: Cow<'_, [T]>,
    bytes: impl Fn(&T) -> [u8; N],
) -> Cow<'_, [u8]> {
    match values {
        Cow::Borrowed(values) if cfg!(target_endian = "little") => bytemuck::cast_slice(values).into(),
        values => values.iter().flat_map(bytes).collect(),
    }
}

/// Writes `tensors` to `path` as safetensors, as [`write_whole`] does.
///
/// # Errors
/// As [`write_whole`], and [`Error::File`](crate::Error::File) where a tensor's shape is not that of its elements.
pub fn write_tensors(path: &Path, tensors: &[NewTensor<'_>]) -> Result<()> {
    const OPERATION: &str = "files::write_tensors";
    for tensor in tensors {
        let elements = tensor.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
        let there = tensor.bytes.len() * 8 / tensor.dtype.bitsize();
        if elements != Some(there) {
            return Err(unfit(OPERATION, path, format!("{}: {tensor} has {there} elements", path.display())));
        }
    }
    let named: Vec<_> = tensors.iter().map(|t| (t.name, t.dtype, &t.shape[..])).collect();
    let Frame { head, places } = Frame::new(&[], &named);
    let mut parts: Vec<_> = tensors.iter().zip(places).collect();
    parts.sort_by_key(|(_, place)| place.start);
    replace(OPERATION, path, |file| {
        file.write_all(&head)
            .and_then(|()| parts.iter().try_for_each(|(tensor, _)| file.write_all(&tensor.bytes)))
            .map_err(refused(OPERATION, path, "write"))
    })
}

/// Writes a file atomically: to a temporary file beside it, synced, then renamed onto the target. Symbolic links are
/// followed, and the file keeps its mode and owner.
///
/// # Errors
/// [`Error::File`](crate::Error::File) where the system refuses, and where the target is neither absent nor a regular
/// file; what is at `path` is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    const OPERATION: &str = "files::write_whole";
    replace(OPERATION, path, |file| file.write_all(bytes).map_err(refused(OPERATION, path, "write")))
}

/// Checks before long work that `path` can be written later, and that this does not overwrite any of `others`: the
/// inputs of the work, and its further outputs.
///
/// # Errors
/// [`Error::File`](crate::Error::File) for a target that is neither absent nor a regular file, where its directory is
/// not there, and where it is one of `others`.
pub fn check_target(path: &Path, others: &[&Path]) -> Result<()> {
    const OPERATION: &str = "files::check_target";
    let target = atomic_file::target(path).map_err(refused(OPERATION, path, "write"))?;
    match others.iter().find(|other| regular_file::same(&target.path, other) || clash(&target, other)) {
        None => Ok(()),
        Some(other) => {
            let why = format!("{}: cannot write: this is also {}", path.display(), other.display());
            Err(unfit(OPERATION, path, why))
        }
    }
}

/// Whether `other` would be written to the same place, where nothing is yet.
fn clash(target: &atomic_file::Target, other: &Path) -> bool {
    let place = |path: &Path| {
        let (folder, name) = (atomic_file::parent(path).canonicalize().ok()?, path.file_name()?);
        // On Windows names that differ in case alone are one.
        let name = if cfg!(windows) { name.to_string_lossy().to_lowercase().into() } else { name.to_owned() };
        Some((folder, name))
    };
    let other = atomic_file::target(other).ok();
    other.is_some_and(|other| place(&other.path).is_some_and(|other| Some(other) == place(&target.path)))
}

/// Puts what `fill` writes at `path`, atomically.
pub(super) fn replace(operation: &'static str, path: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    atomic_file::replace(path, fill, |error| refused(operation, path, "write")(error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_failure_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, b"old").unwrap();
        let failed = replace("test", &path, |file| {
            file.write_all(b"new, but").unwrap();
            Err(unfit("test", &path, "enough".into()))
        });
        assert!(failed.is_err());
        let panicked = std::panic::catch_unwind(|| replace("test", &path, |_| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_target_is_none_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("input"), "").unwrap();
        fs::create_dir(at("sub")).unwrap();
        for (one, other, fits) in [
            ("input", "input", false),
            ("sub/../input", "input", false),
            ("new", "input", true),
            ("new", "sub/../new", false),
            ("new", "other", true),
            ("new", "NEW", !cfg!(windows)),
        ] {
            assert_eq!(check_target(&at(one), &[&at("far"), &at(other)]).is_ok(), fits, "{one} {other}");
        }
        fs::hard_link(at("input"), at("second name")).unwrap();
        assert!(check_target(&at("second name"), &[&at("input")]).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("input", at("link")).unwrap();
            std::os::unix::fs::symlink("new", at("dangling")).unwrap();
            for (one, other) in [("second name", "input"), ("link", "input"), ("input", "link"), ("dangling", "new")] {
                let error = check_target(&at(one), &[&at(other)]).unwrap_err().to_string();
                assert!(error.contains("this is also"), "{error}");
            }
        }
    }

    #[test]
    fn shapes_are_held_against_elements() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        for shape in [&[2][..], &[usize::MAX, 4], &[]] {
            assert!(write_tensors(&path, &[NewTensor::u32("t", shape, vec![1, 2, 3])]).is_err());
        }
        assert!(!path.exists());
    }
}
