//! Regular files: opened without waiting for anything else that may stand in their place, such as a FIFO.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens `path` for reading. Never blocks.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what is no regular file, besides those of the system.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Opening a device may already do something.
    check(&metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    // Something else may stand there by now. A FIFO without a writer would block here, whatever it is checked for
    // later.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most `largest` bytes.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what is no regular file, [`ErrorKind::FileTooLarge`], and those of the system.
pub(crate) fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > largest {
        true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("more than {largest} bytes"))),
        false => Ok(bytes),
    }
}

/// What is at `path`. On Windows devices, which have names in every folder, are an error of
/// [`ErrorKind::InvalidInput`]: opening a pipe takes it from its reader, and the console waits for the keyboard.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    #[cfg(windows)]
    if is_device(path) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file but a device"));
    }
    fs::metadata(path)
}

/// Whether Windows takes `path` for a device, such as `NUL`, `\\.\COM1` or a pipe, here or on another machine.
#[cfg(windows)]
fn is_device(path: &Path) -> bool {
    use std::path::{Component, Prefix};
    // Resolves the names of devices.
    let Ok(path) = std::path::absolute(path) else { return false };
    let Some(Component::Prefix(prefix)) = path.components().next() else { return false };
    match prefix.kind() {
        Prefix::DeviceNS(_) => true,
        Prefix::UNC(_, share) | Prefix::VerbatimUNC(_, share) | Prefix::Verbatim(share) => {
            share.eq_ignore_ascii_case("pipe")
        }
        _ => false,
    }
}

fn check(found: &Metadata) -> io::Result<()> {
    match found.is_file() {
        true => Ok(()),
        false => {
            let why = format!("not a regular file but {}", kind(found));
            Err(io::Error::new(ErrorKind::InvalidInput, why))
        }
    }
}

/// What it is, in words.
pub(crate) fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        for (is, name) in [
            (kind.is_fifo(), "a FIFO"),
            (kind.is_socket(), "a socket"),
            (kind.is_char_device(), "a character device"),
            (kind.is_block_device(), "a block device"),
        ] {
            if is {
                return name;
            }
        }
    }
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => "a regular file",
        (_, true) => "a directory",
        _ => "a special file",
    }
}

/// Whether `path` itself, not a link behind it, is still the name of `file`.
#[cfg(not(windows))]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(there), Ok(here)) = (fs::symlink_metadata(path), file.metadata()) else { return false };
    #[cfg(unix)]
    return identity(&there) == identity(&here);
    #[cfg(not(unix))]
    return there.is_file() && here.is_file();
}

/// Whether both paths lead to one file that is there.
#[cfg(feature = "files")]
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    // A file may be mounted at two places, or have two names.
    #[cfg(unix)]
    if let (Ok(first), Ok(second)) = (fs::metadata(one), fs::metadata(other))
        && identity(&first) == identity(&second)
    {
        return true;
    }
    // It opens both.
    #[cfg(windows)]
    if [one, other].iter().all(|path| metadata(path).is_ok_and(|found| found.is_file())) {
        return same_file::is_same_file(one, other).unwrap_or(false);
    }
    let (Ok(first), Ok(second)) = (fs::canonicalize(one), fs::canonicalize(other)) else { return false };
    first == second
}

#[cfg(unix)]
fn identity(found: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert_eq!(read(&path, 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 9).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read(&folder.path().join("gone"), 9).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn what_would_block_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let start = std::time::Instant::now();
            let error = read(path, 9).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(start.elapsed().as_secs() < 5);
        }
    }
}
