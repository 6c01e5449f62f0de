//! `attractor completions`: what a shell completes after `attractor`.

use clap_complete::Shell;

use crate::failure::{Failure, emit};

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
For bash: attractor completions bash > ~/.local/share/bash-completion/completions/attractor

For fish: attractor completions fish > ~/.config/fish/completions/attractor.fish

For zsh: attractor completions zsh > a file _attractor in a folder of $fpath";

/// The arguments of `attractor completions`.
#[derive(clap::Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, command: &mut clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "attractor", &mut script);
    emit(&String::from_utf8_lossy(&script))
}
