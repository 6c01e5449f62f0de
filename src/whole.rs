//! Files in full or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Puts what `fill` writes at `path`: in a temporary neighbour, synced, then renamed onto the target. `refused` makes an
/// error of what the system says; what was at `path` is then as it was.
pub(crate) fn replace<E>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
    refused: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    let (mut file, temporary) = Temporary::beside(path).map_err(&refused)?;
    fill(&mut file)?;
    // Before the name is given: after a crash there is the old file, or the whole new one.
    file.sync_all().map_err(&refused)?;
    drop(file);
    fs::rename(&temporary.0, path).map_err(&refused)?;
    #[cfg(unix)]
    if let Ok(directory) = File::open(parent(path)) {
        // Makes the new name last. Where the system cannot, the file is whole all the same.
        let _ = directory.sync_all();
    }
    Ok(())
}

/// The folder that a path's last part is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that goes away with this unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> io::Result<(File, Self)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            // Two threads may write the same target, and an earlier process of this number may have been killed.
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}.{count}.tmp", std::process::id()));
            let temporary = parent(path).join(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok((file, Self(temporary))),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is none of this name; before it, the failure to report is another.
        let _ = fs::remove_file(&self.0);
    }
}
