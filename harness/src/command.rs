//! The command `attractor` as a process, as a user runs it.

use std::path::Path;
use std::process::Command;

/// The command at `program`, to be run in `dir`, whose `cache` is its cache folder, on the system's own Vulkan driver.
///
/// Nothing that this user keeps or sets is seen by it: neither tunings nor filters of the log.
pub fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .env_remove("VK_ADD_DRIVER_FILES")
        .env("XDG_RUNTIME_DIR", dir)
        .env("ATTRACTOR_CACHE_DIR", dir.join("cache"));
    command
}

/// What a process wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
