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
    check(&fs::metadata(path)?)?;
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
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(there), Ok(here)) = (fs::symlink_metadata(path), file.metadata()) else { return false };
    #[cfg(unix)]
    return identity(&there) == identity(&here);
    // Elsewhere no other process can give the name to another file while this one is open.
    #[cfg(not(unix))]
    return there.is_file() && here.is_file();
}

/// Whether both paths lead to one file that is there.
#[cfg(feature = "files")]
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    let (Ok(first), Ok(second)) = (fs::canonicalize(one), fs::canonicalize(other)) else { return false };
    // A file may be mounted at two places, or have two names.
    #[cfg(unix)]
    if let (Ok(first), Ok(second)) = (fs::metadata(one), fs::metadata(other))
        && identity(&first) == identity(&second)
    {
        return true;
    }
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
