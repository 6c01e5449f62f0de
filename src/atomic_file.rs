//! Files that are replaced atomically. Every file that this crate writes goes through [`replace`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::cache;
use crate::regular_file;

/// Writes what `fill` writes to `path`: to a temporary file in the same folder, which is synced and renamed. On an
/// error the file at `path` is unchanged. `refused` converts an error of the system.
///
/// - The target must be absent or a regular file ([`target`]). Symbolic links are followed: the file that they lead to
///   is replaced, or created, and the link stays.
/// - The new file has the mode, the owner and the group of the old one, as far as this process may set them. Access
///   control lists and extended attributes are not copied.
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
    /// The path behind all symbolic links.
    pub path: PathBuf,
    /// The regular file that is there now.
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
    let target = match fs::metadata(path) {
        Ok(found) if found.is_file() => Target { path: fs::canonicalize(path)?, existing: Some(found) },
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

/// The path that a chain of links, whose end is absent, leads to.
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

/// A temporary file, locked while its process is alive, and removed unless it is renamed.
///
/// The lock tells a file that is being written from an abandoned one. A process number would not: it may be used again,
/// and another container that shares the folder counts its own.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(target: &Target) -> io::Result<Self> {
        // Of fixed length, for the target's own name may be as long as the system allows.
        let name = cache::hash(target.path.file_name().unwrap_or_default().as_encoded_bytes());
        let numbered = |number: u32| parent(&target.path).join(format!(".attractor-{name:016x}-{number}.tmp"));
        for number in 0..SEARCHED {
            remove_abandoned(&numbered(number));
        }
        for number in 0..ATTEMPTS {
            let path = numbered(number);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            // The new contents are as private as the old ones from the start.
            #[cfg(unix)]
            if target.existing.is_some() {
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            let file = match options.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // A process that took the file for abandoned before it was locked has removed it or is about to.
            let taken = matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
            if !taken && regular_file::is_at(&file, &path) {
                return Ok(Self { file, path, renamed: false });
            }
        }
        Err(io::Error::new(ErrorKind::ResourceBusy, "too many temporary files of this name"))
    }

    fn finish(mut self, target: &Target) -> io::Result<()> {
        if let Some(existing) = &target.existing {
            keep_access(&self.file, existing)?;
        }
        // Before the rename: after a crash there is the old file or the whole new one.
        self.file.sync_all()?;
        fs::rename(&self.path, &target.path)?;
        self.renamed = true;
        #[cfg(unix)]
        if let Ok(directory) = File::open(parent(&target.path)) {
            // Makes the rename durable. Some file systems do not support it; the file is complete all the same.
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error to report is the one that led here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a temporary file that no living process writes.
fn remove_abandoned(path: &Path) {
    let Ok(file) = regular_file::open(path) else { return };
    // Where the file system has no locks, nothing is ever removed.
    if file.try_lock().is_ok() && regular_file::is_at(&file, path) {
        let _ = fs::remove_file(path);
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

/// Elsewhere a file has the access rights of its folder.
#[cfg(not(unix))]
fn keep_access(file: &File, existing: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(existing.permissions())
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
