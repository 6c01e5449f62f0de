//! Files as memory.

use std::fs::{self, File};
use std::path::Path;

use memmap2::Mmap;

use super::{refused, unfit};
use crate::error::Result;

/// Maps a regular file that is not empty.
pub(super) fn map(operation: &'static str, path: &Path) -> Result<Mmap> {
    let about = fs::metadata(path).map_err(refused(operation, path, "open"))?;
    if !about.is_file() {
        return Err(unfit(operation, path, format!("{}: not a regular file", path.display())));
    }
    if about.len() == 0 {
        return Err(unfit(operation, path, format!("{}: the file is empty", path.display())));
    }
    let file = File::open(path).map_err(refused(operation, path, "open"))?;
    // SAFETY: the map is only read, as plain numbers that may have any bits. Whoever shortens the file meanwhile ends
    // this program, as with every program that maps its inputs; files are mapped so that a memory larger than half the
    // machine's can still be loaded.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(refused(operation, path, "map"))
}
