//! The command that the tests run.

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

/// Runs the command with standard output on a terminal of so many columns; what the terminal was sent, what went to
/// standard error, and the exit status.
#[cfg(unix)]
pub fn in_terminal(columns: u16, command: &mut Command) -> (String, String, Option<i32>) {
    use std::io::Read;
    use std::process::Stdio;

    let size = nix::pty::Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(&size, None).expect("a terminal");
    command.stdout(terminal.slave).stderr(Stdio::piped());
    let child = command.spawn().expect("the command starts");
    // The command keeps its side of the terminal, which otherwise never ends.
    command.stdout(Stdio::null());
    let reader = std::thread::spawn(move || {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        let mut terminal = std::fs::File::from(terminal.master);
        // Linux ends it with an error.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
        }
        seen
    });
    let output = child.wait_with_output().expect("the command ends");
    let seen = reader.join().expect("the terminal is read");
    (text(&seen).replace("\r\n", "\n"), text(&output.stderr), output.status.code())
}
