//! Files that are read: copied first, then checked.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::file_error::{refused, unfit};
use crate::regular_file;

/// Opens a regular file for reading. Returns at once where something else is at `path`, such as a FIFO, which would
/// block.
///
/// # Errors
/// [`Error::File`] for anything but a regular file, and where the system refuses.
pub fn open_regular(path: &Path) -> Result<File> {
    regular_file::open(path).map_err(refused("files::open_regular", path, "open"))
}

/// Bytes that are read at a time. They are checked while they are in the cache.
const PIECE: usize = 256 << 10;

/// A regular file that is not empty. It is never mapped: another process can change or truncate the file, and neither
/// changes what has been read.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    length: u64,
    /// When it was last written to, as it was opened; absent where the system does not say.
    modified: Option<SystemTime>,
}

impl Source {
    pub fn open(operation: &'static str, path: &Path) -> Result<Self> {
        let file = regular_file::open(path).map_err(refused(operation, path, "open"))?;
        let metadata = file.metadata().map_err(refused(operation, path, "open"))?;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        match length {
            0 => Err(unfit(operation, path, format!("{}: the file is empty", path.display()))),
            _ => Ok(Self { file, path: path.to_owned(), length, modified }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file has been written to since it was opened. Another file that was put in its place is none of it.
    pub fn has_changed(&self, operation: &'static str) -> Result<bool> {
        let metadata = self.file.metadata().map_err(refused(operation, &self.path, "read"))?;
        Ok(metadata.len() != self.length || metadata.modified().ok() != self.modified)
    }

    /// The bytes `range`, which ends within the file as it was when it was opened.
    pub fn bytes(&self, operation: &'static str, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = room(operation, (range.end - range.start) as usize)?;
        self.read(operation, range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into` from the file, from `at` on.
    pub fn read(&self, operation: &'static str, at: u64, into: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, at, into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let why = format!("{}: truncated while it was read", self.path.display());
                unfit(operation, &self.path, why)
            }
            _ => refused(operation, &self.path, "read")(error),
        })
    }

    /// Fills `to` with elements that `read(first, part)` reads, piece by piece on the threads of rayon, where `part`
    /// begins at element `first` of `to`. Returns what it returned, in order.
    pub fn pieces<E: Send, T: Send>(
        to: &mut [E],
        read: impl Fn(usize, &mut [E]) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let piece = PIECE / size_of::<E>();
        to.par_chunks_mut(piece).enumerate().map(|(i, part)| read(i * piece, part)).collect()
    }
}

/// `length` zeros, or an error where the host has no room: files may claim any size, and be sparse.
pub(super) fn room<E: Clone + Default>(operation: &'static str, length: usize) -> Result<Vec<E>> {
    let mut room = Vec::new();
    resize(operation, &mut room, length)?;
    Ok(room)
}

/// Makes `buffer` as long as `length`, or returns an error where the host has no room.
pub(super) fn resize<E: Clone + Default>(operation: &'static str, buffer: &mut Vec<E>, length: usize) -> Result<()> {
    let bytes = length.saturating_mul(size_of::<E>()) as u64;
    buffer.try_reserve_exact(length.saturating_sub(buffer.len())).map_err(|_| Error::OutOfMemory {
        operation,
        what: "the contents of a file",
        bytes: Some(bytes),
    })?;
    buffer.resize(length, E::default());
    Ok(())
}

#[cfg(unix)]
fn read_exact_at(file: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                into = &mut into[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: u64, _: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
