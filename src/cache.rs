//! What is kept from one run to the next in the user's cache folder. A file belongs to one adapter under one driver and
//! one version of this crate ([`key`]). It is replaced atomically, and a file that cannot be read counts as absent.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::hash::hash;
use crate::{atomic_file, regular_file};

/// The folder for what this crate may keep from one run to the next: `attractor` in `%LOCALAPPDATA%` on Windows, in
/// `~/Library/Caches` on macOS, elsewhere in `$XDG_CACHE_HOME` or `~/.cache`; or what `ATTRACTOR_CACHE_DIR` says. It
/// need not be there yet. `None` where the environment tells of no such place. The library keeps nothing unless it is
/// asked to; the command line does.
pub fn user_cache_folder() -> Option<PathBuf> {
    folder(std::env::consts::OS, |name| std::env::var_os(name))
}

fn folder(system: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // A relative path would depend on where the program happens to be started.
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match system {
        "windows" => path("LOCALAPPDATA"),
        "macos" => path("HOME").map(|home| home.join("Library/Caches")),
        _ => path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache"))),
    };
    path("ATTRACTOR_CACHE_DIR").or_else(|| base.map(|base| base.join("attractor")))
}

/// The name of what is kept for `adapter` by this version of this crate: two adapters, drivers or versions have two
/// names.
pub(crate) fn key(adapter: &wgpu::AdapterInfo) -> String {
    let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = adapter;
    let version = env!("CARGO_PKG_VERSION");
    let all = format!("{name}\n{vendor:x}\n{device:x}\n{driver}\n{driver_info}\n{backend:?}\n{version}");
    let readable: String = name.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    format!("{readable}-{:016x}", hash(all.as_bytes())).to_lowercase()
}

/// Bytes of a cached file, at most: drivers keep tens of megabytes.
const LARGEST: u64 = 1 << 30;

/// The bytes of a file, if it exists, is regular, and can be read.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    match regular_file::read(path, LARGEST) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            log::warn!("attractor: {} cannot be read: {error}", path.display());
            None
        }
    }
}

/// Replaces a file atomically, and makes its folder, which only this user may enter.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make(atomic_file::parent(path))?;
    atomic_file::replace(path, |file| file.write_all(bytes), |error| error)
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_follows_the_system() {
        let of = |system: &str, variables: &[(&str, &str)]| {
            folder(system, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let root = std::env::current_dir().unwrap();
        let (home, other) = (root.join("home"), root.join("other"));
        let (home, other) = (home.to_str().unwrap(), other.to_str().unwrap());
        let both = [("HOME", home), ("XDG_CACHE_HOME", other), ("LOCALAPPDATA", other)];
        assert_eq!(of("linux", &both), Some(Path::new(other).join("attractor")));
        assert_eq!(of("linux", &both[..1]), Some(Path::new(home).join(".cache/attractor")));
        assert_eq!(of("linux", &[("HOME", home), ("XDG_CACHE_HOME", "here")]), of("linux", &both[..1]));
        assert_eq!(of("macos", &both), Some(Path::new(home).join("Library/Caches/attractor")));
        assert_eq!(of("windows", &both), Some(Path::new(other).join("attractor")));
        assert_eq!(of("linux", &[]), None);
        for system in ["linux", "macos", "windows"] {
            assert_eq!(of(system, &[both[0], both[1], ("ATTRACTOR_CACHE_DIR", home)]), Some(home.into()));
        }
    }

    #[test]
    fn files_are_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/kept");
        assert_eq!(read(&path), None);
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(read(folder.path()), None, "a folder is no file");
        #[cfg(unix)]
        {
            let fifo = folder.path().join("fifo");
            let made = std::process::Command::new("mkfifo").arg(&fifo).status();
            assert!(made.is_ok_and(|status| status.success()), "mkfifo");
            let start = std::time::Instant::now();
            assert_eq!(read(&fifo), None);
            assert!(write(&fifo, b"new").is_err());
            assert!(start.elapsed().as_secs() < 5, "neither waits for the other end");
            assert!(std::os::unix::fs::FileTypeExt::is_fifo(&std::fs::metadata(&fifo).unwrap().file_type()));
        }
        assert!(write(&path.join("below a file"), b"third").is_err());
    }
}
