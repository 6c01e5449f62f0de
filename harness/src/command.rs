//! The command `attractor` as a process, as a user runs it, and the tools that some tests need.

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

/// Whether `name` is on the list, with commas between its names, in the environment variable `list`.
pub fn is_required(name: &str, list: &str) -> bool {
    std::env::var(list).is_ok_and(|names| names.split(',').any(|listed| listed.trim() == name))
}

/// Whether `tool` starts. Where it does not, that is printed as a skip, and fails the test if `ATTRACTOR_REQUIRE_TOOLS`
/// lists the tool.
pub fn has_tool(tool: &str) -> bool {
    let starts = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !starts {
        eprintln!("SKIP {tool}: it is not installed, or does not run");
        assert!(!is_required(tool, "ATTRACTOR_REQUIRE_TOOLS"), "{tool} is required by ATTRACTOR_REQUIRE_TOOLS");
    }
    starts
}

/// What a process wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
