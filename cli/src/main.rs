//! The command `attractor`: look at the devices, watch digits come back, retrieve from files, measure, tune and verify.
//!
//! `args` holds the flags that commands share; each command is a file or a folder of `commands`. `ui` prints tables and
//! draws pictures. What the commands share with the tests is in the package `attractor-harness`.

mod args;
mod commands;
mod failure;
mod ui;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use commands::{bench, completions, devices, family, recall, retrieve, search, tune, verify};
use failure::{Failure, one_line};

/// Associative memory on any GPU: store patterns once, give noisy or partial queries, get back what they recall.
#[derive(Parser)]
#[command(name = "attractor", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List every adapter with the limits and features that matter here, and the CPU engine.
    Devices(devices::DevicesArgs),
    /// Store handwritten digits, damage them, recall them, check every answer, write a picture.
    #[command(after_help = recall::AFTER_HELP)]
    Recall(recall::RecallArgs),
    /// Retrieve from keys, values and queries in files.
    #[command(after_help = retrieve::AFTER_HELP)]
    Retrieve(Box<retrieve::RetrieveArgs>),
    /// Find the nearest patterns of a saved memory or of a file of keys.
    #[command(after_help = search::AFTER_HELP)]
    Search(search::SearchArgs),
    /// Measure how fast this machine retrieves, and how far that is from what it could.
    #[command(after_help = bench::AFTER_HELP)]
    Bench(bench::BenchArgs),
    /// Measure which settings suit an adapter, and keep them for it.
    #[command(after_help = tune::AFTER_HELP)]
    Tune(tune::TuneArgs),
    /// Compare a device with the reference, case by case.
    #[command(after_help = verify::AFTER_HELP)]
    Verify(verify::VerifyArgs),
    /// Run a case of another associative memory (Hopfield, dense, resonators, torchhd, ...) and compare.
    #[command(after_help = family::AFTER_HELP)]
    Family(family::FamilyArgs),
    /// Print the completions of a shell: bash, elvish, fish, powershell or zsh.
    #[command(after_help = completions::AFTER_HELP)]
    Completions(completions::CompletionsArgs),
}

/// Mesa's EGL complains on standard error where `XDG_RUNTIME_DIR` is missing, although no window is opened.
#[cfg(all(unix, not(target_os = "macos")))]
#[allow(unsafe_code, reason = "the standard library has no other call")]
fn quieten_drivers() {
    const VARIABLE: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(VARIABLE).is_none_or(|folder| !std::path::Path::new(&folder).is_absolute()) {
        // A folder of the user's: sockets are looked for in it.
        let folder = attractor::device::user_cache_folder().filter(|folder| folder.is_absolute());
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(VARIABLE, folder.unwrap_or_else(std::env::temp_dir)) };
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn quieten_drivers() {}

fn main() -> ExitCode {
    quieten_drivers();
    // RUST_LOG=info shows what the library chooses. wgpu_hal reports every driver that it tries and that is not there
    // as an error, which is none of the user's; a driver that fails in use becomes an error of the library.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    ui::interrupt::listen();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outcome = match &cli.command {
        Command::Devices(args) => devices::run(args),
        Command::Recall(args) => recall::run(args),
        Command::Retrieve(args) => retrieve::run(args),
        Command::Search(args) => search::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Family(args) => family::run(args),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("attractor: {}", one_line(&failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version go out as clap writes them; anything else becomes one line, as every error of this program is.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // Styled where a terminal shows it, and NO_COLOR does not forbid it.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            // A reader that has gone away is no failure.
            Err(broken) if broken.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(Failure::USAGE)
        }
        _ => {
            let text = error.to_string();
            let said = text.split("\nUsage:").next().unwrap_or(&text);
            let said = said.split("\nFor more information").next().unwrap_or(said);
            let said = one_line(said);
            eprintln!("attractor: {} (see --help)", said.strip_prefix("error: ").unwrap_or(&said));
            ExitCode::from(Failure::USAGE)
        }
    }
}
