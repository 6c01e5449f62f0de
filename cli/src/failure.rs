//! How a command ends when it does not succeed, and how it speaks.

use std::io::{ErrorKind, Write};

/// Why a command ends without its result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The flags make no sense.
    #[error("{0}")]
    Usage(String),
    /// The input is not what it should be, or an answer is wrong.
    #[error("{0}")]
    Work(String),
    /// The library refused or failed.
    #[error(transparent)]
    Library(attractor::Error),
}

/// What the library says of a file names the file; which of its functions says so is of no interest here.
impl From<attractor::Error> for Failure {
    fn from(error: attractor::Error) -> Self {
        match error {
            attractor::Error::File { why, .. } => Self::Work(why),
            error => Self::Library(error),
        }
    }
}

impl Failure {
    /// The exit status of bad usage.
    pub const USAGE: u8 = 2;

    /// 2 for bad usage, 1 for a failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => Self::USAGE,
            _ => 1,
        }
    }
}

/// Messages of drivers and parsers may span lines; ours never do. Names from files may hold what a terminal would act
/// on, which is escaped.
pub fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    joined.chars().map(|c| if acts(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Writes to standard output. A reader that has gone away (`attractor devices | head -1`) is no failure, and `println!`
/// would panic on it.
pub fn emit(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Work(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
