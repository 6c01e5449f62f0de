//! Ctrl-C: what was measured is kept, and the process ends with exit status 130 at once, whatever a device is doing.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, one_line};

/// What is left to do when the process is interrupted.
type Last = Box<dyn FnOnce() -> Result<(), Failure> + Send>;

static LAST: Mutex<Option<Last>> = Mutex::new(None);

/// 128 and the number of the signal, as shells have it.
const STATUS: i32 = 130;

/// Listens from here on.
pub fn listen() {
    // Without a handler the process ends all the same, but without what is left to do.
    if let Err(error) = ctrlc::set_handler(end) {
        log::warn!("Ctrl-C is not listened to: {error}");
    }
}

/// Does this when the process is interrupted.
pub fn then(last: impl FnOnce() -> Result<(), Failure> + Send + 'static) {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last));
}

/// There is nothing left to do.
pub fn done() {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The handler's thread ends the process: devices and their drivers are in the middle of something.
fn end() {
    // The lock is kept, so that the command does not end the process meanwhile.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut complaints = std::io::stderr();
    if complaints.is_terminal() {
        // Below a progress bar.
        let _ = writeln!(complaints);
    }
    if let Some(last) = last.take()
        && let Err(failure) = last()
    {
        let _ = writeln!(complaints, "attractor: {}", one_line(&failure.to_string()));
    }
    let _ = writeln!(complaints, "attractor: interrupted");
    let _ = std::io::stdout().flush();
    exit();
}

/// Ends the process without the exit handlers of drivers, whose threads still work.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no such call")]
fn exit() -> ! {
    // SAFETY: the process ends; both streams are flushed.
    unsafe { libc::_exit(STATUS) }
}

#[cfg(not(unix))]
fn exit() -> ! {
    std::process::exit(STATUS)
}
