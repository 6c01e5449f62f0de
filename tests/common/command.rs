//! The command, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it in `dir`, whose `cache` is its cache folder too, on the system's own Vulkan driver.
pub fn attractor(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_attractor"))
        .args(args)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .env_remove("VK_ADD_DRIVER_FILES")
        .env("XDG_RUNTIME_DIR", dir)
        .env("ATTRACTOR_CACHE_DIR", dir.join("cache"))
        .output()
        .expect("the command starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
