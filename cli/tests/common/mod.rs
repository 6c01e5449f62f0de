//! The command that the tests run.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

use std::path::Path;
use std::process::{Command, Output};

pub use harness::command::text;

/// The command in `dir`, not started yet.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = harness::command::command(env!("CARGO_BIN_EXE_attractor"), dir);
    command.args(args);
    command
}

/// Runs the command in `dir`.
pub fn attractor(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("the command starts")
}
