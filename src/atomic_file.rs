//! Files that are replaced atomically. Every file that this crate writes goes through [`replace`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::hash::hash;
use crate::regular_file;

/// Writes what `fill` writes to `path`: to a temporary file in the same folder, which is synced and renamed. On an
/// error the file at `path` is unchanged. `refused` converts an error of the system.
///
/// - The target must be absent or a regular file ([`target`]). Symbolic links are followed: the file that they lead to
///   is replaced, or created, and the link stays.
/// - The new file has the mode, the owner and the group of the old one, as far as this process may set them. Access
///   control lists and extended attributes are not copied. On Windows the new file has the access rights of its folder,
///   and a file with the read-only attribute is not replaced.
/// - On Windows a file that another process has open without sharing its deletion cannot be replaced: an error after a
///   second of attempts.
/// - Any number of processes and threads may write the same path at once; the last rename decides. Temporary files that
///   killed processes left behind for this path are removed.
pub(crate) fn replace<E>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
    refused: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    let target = target(path).map_err(&refused)?;
    let mut temporary = Temporary::create(&target).map_err(&refused)?;
    fill(&mut temporary.file)?;
    temporary.finish(&target).map_err(&refused)
}

/// Where a write goes.
#[derive(Debug)]
pub(crate) struct Target {
    /// The path behind the symbolic links that the last part of a path may be.
    pub path: PathBuf,
    /// The regular file that is there now.
    #[cfg_attr(not(unix), allow(dead_code, reason = "its mode and owner are kept where files have them"))]
    pub existing: Option<fs::Metadata>,
}

/// The most symbolic links that are followed, as on Linux.
const LINKS: usize = 40;

/// Resolves `path` to the file that a write to it replaces or creates.
///
/// # Errors
/// For anything but a regular file or nothing at all at that place, and where the folder is missing.
pub(crate) fn target(path: &Path) -> io::Result<Target> {
    if path.file_name().is_none() {
        return Err(invalid("a directory, expected a file to write".into()));
    }
    let target = match regular_file::metadata(path) {
        #[cfg(windows)]
        Ok(found) if found.is_file() && found.permissions().readonly() => {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "the file is read-only"));
        }
        Ok(found) if found.is_file() => Target { path: behind_links(path)?, existing: Some(found) },
        Ok(found) => {
            let kind = regular_file::kind(&found);
            return Err(invalid(format!("{kind}, expected a regular file or no file")));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Target { path: behind_links(path)?, existing: None },
        Err(error) => return Err(error),
    };
    let folder = parent(&target.path);
    match folder.is_dir() {
        true => Ok(target),
        false => Err(io::Error::new(ErrorKind::NotFound, format!("no directory {}", folder.display()))),
    }
}

/// The path that a chain of links leads to.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => path = parent(&path).join(fs::read_link(&path)?),
            _ => return Ok(path),
        }
    }
    Err(invalid("too many symbolic links".into()))
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

/// The folder that a path's last part is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Numbers of temporary files that are searched for abandoned ones: more than so many processes that write one path at
/// once are rare.
const SEARCHED: u32 = 64;
/// Attempts to create a temporary file. Each fails only where another process holds that name.
const ATTEMPTS: u32 = 1 << 16;

/// A temporary file, held while its process is alive, and removed unless it is renamed.
///
/// A hold ([`hold`]) tells a file that is being written from an abandoned one. A process number would not: it may be
/// used again, and another container that shares the folder counts its own.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(target: &Target) -> io::Result<Self> {
        // Of fixed length, for the target's own name may be as long as the system allows.
        let name = hash(target.path.file_name().unwrap_or_default().as_encoded_bytes());
        let numbered = |number: u32| parent(&target.path).join(format!(".attractor-{name:016x}-{number}.tmp"));
        for number in 0..SEARCHED {
            hold::remove_abandoned(&numbered(number));
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // The new contents are as private as the old ones from the start.
        #[cfg(unix)]
        if target.existing.is_some() {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        for number in 0..ATTEMPTS {
            let path = numbered(number);
            match options.open(&path) {
                Ok(file) if hold::take(&file, &path) => return Ok(Self { file, path, renamed: false }),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // What another process is removing cannot be told from a folder that may not be written.
                Err(error) if hold::busy(&error) && number < SEARCHED => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::ResourceBusy, "too many temporary files of this name"))
    }

    fn finish(mut self, target: &Target) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(existing) = &target.existing {
            keep_access(&self.file, existing)?;
        }
        // Before the rename: after a crash there is the old file or the whole new one.
        self.file.sync_all()?;
        // A reader that does not share writing could not open the new file while it is open for writing here.
        #[cfg(windows)]
        {
            self.file = File::open(&self.path)?;
        }
        rename(&self.path, &target.path)?;
        self.renamed = true;
        #[cfg(unix)]
        if let Ok(directory) = File::open(parent(&target.path)) {
            // Makes the rename durable. Some file systems do not support it; the file is complete all the same.
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

/// Renames `from` to `to`, which is replaced. Where another process has one of them open, Windows refuses, and scanners
/// of files open each new one for a moment: there the rename is attempted for a second.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(windows)]
    for attempt in 0..10 {
        match fs::rename(from, to) {
            Err(error) if hold::busy(&error) => std::thread::sleep(std::time::Duration::from_millis(1 << attempt)),
            done => return done,
        }
    }
    fs::rename(from, to)
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error to report is the one that led here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Temporary files are held by a lock.
#[cfg(not(windows))]
mod hold {
    use std::fs::{self, File, TryLockError};
    use std::io;
    use std::path::Path;

    use crate::regular_file;

    /// Holds the file that was just created at `path`. Returns false where a process took it for abandoned before, and
    /// has removed it or is about to.
    pub fn take(file: &File, path: &Path) -> bool {
        !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && regular_file::is_at(file, path)
    }

    /// Removes a temporary file that no living process writes.
    pub fn remove_abandoned(path: &Path) {
        let Ok(file) = regular_file::open(path) else { return };
        // Where the file system has no locks, nothing is ever removed.
        if file.try_lock().is_ok() && regular_file::is_at(&file, path) {
            let _ = fs::remove_file(path);
        }
    }

    /// Always false: here a file that is in use can be replaced.
    pub fn busy(_: &io::Error) -> bool {
        false
    }
}

/// Temporary files are held by being open. A lock would do harm: on Windows no other process can read what is locked,
/// and the file is still locked for a moment after it has been renamed.
#[cfg(windows)]
mod hold {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::fs::OpenOptionsExt;
    use std::path::Path;

    /// Holds the file that was just created at `path`, which is open.
    pub fn take(_: &File, _: &Path) -> bool {
        true
    }

    /// Removes a temporary file that no process has open.
    pub fn remove_abandoned(path: &Path) {
        const DELETE: u32 = 0x0001_0000;
        const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
        const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        let mut options = OpenOptions::new();
        // Sharing nothing fails where the file is open already.
        options.access_mode(DELETE).share_mode(0);
        options.custom_flags(FILE_FLAG_DELETE_ON_CLOSE | FILE_FLAG_OPEN_REPARSE_POINT);
        drop(options.open(path));
    }

    /// Whether another process may be using the file.
    pub fn busy(error: &io::Error) -> bool {
        const ERROR_ACCESS_DENIED: i32 = 5;
        const ERROR_SHARING_VIOLATION: i32 = 32;
        matches!(error.raw_os_error(), Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION))
    }
}

/// Gives `file` the owner, the group and the mode of the file that it replaces.
#[cfg(unix)]
fn keep_access(file: &File, existing: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let now = file.metadata()?;
    let mut mode = existing.mode() & 0o7777;
    if now.uid() != existing.uid() && fchown(file, Some(existing.uid()), None).is_err() {
        // What ran as the old owner does not run as the new one.
        mode &= !0o4000;
    }
    if now.gid() != existing.gid() && fchown(file, None, Some(existing.gid())).is_err() {
        // Another group gets what everybody has.
        mode &= !0o2000 & (!0o070 | (mode & 0o007) << 3);
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        replace(path, |file| file.write_all(bytes), |error| error)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn names_may_be_as_long_as_the_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn abandoned_temporaries_are_removed_and_held_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let target = target(&path).unwrap();
        let mut held: Vec<Temporary> = (0..5).map(|_| Temporary::create(&target).unwrap()).collect();
        // What a killed process leaves: a file without a lock.
        let mut abandoned = held.remove(3);
        let left = abandoned.path.clone();
        abandoned.renamed = true;
        drop(abandoned);
        assert!(left.exists());
        write(&path, b"new").unwrap();
        assert!(!left.exists());
        assert!(held.iter().all(|temporary| temporary.path.exists()));
        drop(held);
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(not(windows))]
    #[test]
    fn a_temporary_that_is_taken_before_it_is_locked_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(&folder.path().join("file")).unwrap();
        let first = Temporary::create(&target).unwrap();
        // Another name stands where the file was.
        fs::rename(&first.path, folder.path().join("elsewhere")).unwrap();
        fs::write(&first.path, "another").unwrap();
        assert!(!regular_file::is_at(&first.file, &first.path));
    }

    #[cfg(windows)]
    #[test]
    fn what_another_process_keeps_open_is_replaced_or_stays_whole() {
        use std::os::windows::fs::OpenOptionsExt;
        const FILE_SHARE_READ: u32 = 1;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"old").unwrap();
        // As C opens files: deletion is not shared.
        let reader = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ).open(&path).unwrap();
        let error = write(&path, b"new").unwrap_err();
        assert!(hold::busy(&error), "{error:?}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["file".to_owned()]));
        drop(reader);
        // As Rust opens them: Windows 10 and later replace the file on NTFS; Wine does not.
        let reader = File::open(&path).unwrap();
        let now = match write(&path, b"new") {
            Ok(()) => "new",
            Err(error) => {
                assert!(hold::busy(&error), "{error:?}");
                "old"
            }
        };
        assert_eq!(io::read_to_string(reader).unwrap(), "old");
        assert_eq!((fs::read_to_string(&path).unwrap(), names(folder.path())), (now.into(), vec!["file".to_owned()]));
        write(&path, b"newer").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"newer".to_vec(), vec!["file".to_owned()]));
    }

    #[cfg(windows)]
    #[test]
    fn read_only_files_and_devices_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"old").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions.clone()).unwrap();
        let error = write(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("read-only"), "{error}");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["file".to_owned()]));
        #[allow(clippy::permissions_set_readonly_false, reason = "on Windows it is one attribute")]
        permissions.set_readonly(false);
        fs::set_permissions(&path, permissions).unwrap();
        for device in ["NUL", "CON", r"\\.\pipe\attractor", r"\\localhost\pipe\attractor"] {
            let error = write(Path::new(device), b"new").unwrap_err();
            assert!(error.to_string().contains("a device"), "{device}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_replaced_and_links_are_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("folder", at("to_folder")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("gone/file", at("to_nowhere")).unwrap();
        for (name, word) in [
            ("socket", "a socket"),
            ("folder", "a directory"),
            ("to_folder", "a directory"),
            ("gone/file", "no directory"),
            ("to_nowhere", "no directory"),
            ("folder/..", "a directory"),
        ] {
            let error = write(&at(name), b"new").unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
        }
        assert!(write(&at("loop"), b"new").is_err());
        assert!(write(Path::new("/dev/null"), b"new").unwrap_err().to_string().contains("a character device"));
        drop(socket);
        fs::create_dir(at("other")).unwrap();
        for (link, to) in [("link", "other/real"), ("chain", "link"), ("dangling", "other/new"), ("long", "dangling")] {
            symlink(to, at(link)).unwrap();
        }
        fs::write(at("other/real"), "old").unwrap();
        for (link, real) in [("link", "other/real"), ("chain", "other/real"), ("long", "other/new")] {
            write(&at(link), link.as_bytes()).unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
            assert_eq!(fs::read(at(real)).unwrap(), link.as_bytes());
        }
        assert!(fs::symlink_metadata(at("dangling")).unwrap().is_symlink());
        assert_eq!(names(&at("other")), ["new", "real"]);
    }

    #[cfg(unix)]
    #[test]
    fn mode_and_owner_are_kept() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"new").unwrap();
        for mode in [0o600, 0o640, 0o664, 0o755, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            // Only the superuser gives files away.
            let given = std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_ok();
            let before = fs::metadata(&path).unwrap();
            write(&path, b"newer").unwrap();
            let after = fs::metadata(&path).unwrap();
            assert_eq!(after.mode() & 0o7777, mode);
            assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()), "given {given}");
            assert_ne!(after.ino(), before.ino());
        }
    }
}
