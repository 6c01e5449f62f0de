//! Error codes, the message of the last error, and the guard that keeps panics inside the library.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use attractor::Error;

/// The result of a call. The numbers do not change; later versions may add others.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_error {
    /// Success.
    ATTRACTOR_OK = 0,
    /// No error and no message: the answer is not ready yet (`attractor_pending_take`).
    ATTRACTOR_NOT_READY = 1,
    /// A pointer is NULL that may not be.
    ATTRACTOR_ERROR_NULL_POINTER = 2,
    /// A pointer is not aligned for what it points to.
    ATTRACTOR_ERROR_ALIGNMENT = 3,
    /// A string is not UTF-8.
    ATTRACTOR_ERROR_UTF8 = 4,
    /// The answer of this pending retrieval has been taken before.
    ATTRACTOR_ERROR_TAKEN = 5,
    /// A defect of this library: it panicked. A memory that was being changed refuses every later call with this code.
    ATTRACTOR_ERROR_PANIC = 6,
    /// An array has the wrong length, is missing, or is one that the memory does not accept.
    ATTRACTOR_ERROR_SHAPE = 10,
    /// An input holds NaN or an infinity; the message names row and column.
    ATTRACTOR_ERROR_NOT_FINITE = 11,
    /// A parameter is outside its domain.
    ATTRACTOR_ERROR_PARAMETER = 12,
    /// A retrieval from a memory without patterns.
    ATTRACTOR_ERROR_EMPTY = 13,
    /// The request is not defined for this rule, or this library was built without the feature.
    ATTRACTOR_ERROR_UNSUPPORTED = 14,
    /// No pattern with this id is stored.
    ATTRACTOR_ERROR_UNKNOWN_ID = 15,
    /// No adapter fits the options; the message lists the adapters of this machine.
    ATTRACTOR_ERROR_NO_ADAPTER = 16,
    /// This device cannot do what was asked.
    ATTRACTOR_ERROR_DEVICE = 17,
    /// The request exceeds a limit of the device or of the address space.
    ATTRACTOR_ERROR_LIMIT = 18,
    /// The device was lost, and with it what is on it.
    ATTRACTOR_ERROR_LOST = 19,
    /// A file is missing, damaged or of another kind, or the system refused access.
    ATTRACTOR_ERROR_FILE = 20,
    /// A defect of this library or of a driver, to be reported.
    ATTRACTOR_ERROR_INTERNAL = 21,
    /// The work was cancelled before it was done.
    ATTRACTOR_ERROR_CANCELLED = 22,
    /// A finite row lies outside the range of right answers; the message names the row and the range.
    ATTRACTOR_ERROR_RANGE = 23,
    /// Memory ran out, of the host or of the device.
    ATTRACTOR_ERROR_OUT_OF_MEMORY = 24,
    /// An object was made from a memory that has changed since.
    ATTRACTOR_ERROR_STALE = 40,
    /// A buffer belongs to another device.
    ATTRACTOR_ERROR_OTHER_DEVICE = 41,
    /// The process was forked after its first device was made; make the first device in the child.
    ATTRACTOR_ERROR_FORKED = 50,
}

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Library(#[from] Error),
    #[error("{0} is NULL")]
    Null(&'static str),
    #[error("{what} is not aligned to {to} bytes")]
    Alignment { what: &'static str, to: usize },
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    #[error("the answer has been taken before")]
    Taken,
    #[error("panicked: {0}")]
    Panic(String),
    #[error("an earlier call panicked while it changed this handle")]
    Poisoned,
    #[error("expected {expected}, got {got}")]
    Shape { expected: String, got: usize },
    #[error("{parameter} must be {expected}, got {got}")]
    Parameter { parameter: &'static str, expected: &'static str, got: String },
    #[error("{what} is not supported")]
    Unsupported { what: &'static str },
    #[error("{limit}: needs {need}, at most {allowed} allowed")]
    Limit { limit: &'static str, need: u64, allowed: u64 },
    #[error("no host memory for {bytes} bytes of {what}")]
    OutOfMemory { what: &'static str, bytes: u64 },
}

impl Failure {
    fn code(&self) -> attractor_error {
        use attractor_error::*;
        match self {
            Self::Null(_) => ATTRACTOR_ERROR_NULL_POINTER,
            Self::Alignment { .. } => ATTRACTOR_ERROR_ALIGNMENT,
            Self::Utf8(_) => ATTRACTOR_ERROR_UTF8,
            Self::Taken => ATTRACTOR_ERROR_TAKEN,
            Self::Panic(_) | Self::Poisoned => ATTRACTOR_ERROR_PANIC,
            Self::Shape { .. } => ATTRACTOR_ERROR_SHAPE,
            Self::Parameter { .. } => ATTRACTOR_ERROR_PARAMETER,
            Self::Unsupported { .. } => ATTRACTOR_ERROR_UNSUPPORTED,
            Self::Limit { .. } => ATTRACTOR_ERROR_LIMIT,
            Self::OutOfMemory { .. } => ATTRACTOR_ERROR_OUT_OF_MEMORY,
            Self::Library(error) => match error {
                Error::Shape { .. } => ATTRACTOR_ERROR_SHAPE,
                Error::NotFinite { .. } => ATTRACTOR_ERROR_NOT_FINITE,
                // No call of this interface has keys of the caller's own.
                Error::Parameter { .. } | Error::UnknownKey { .. } | Error::DuplicateKey { .. } => {
                    ATTRACTOR_ERROR_PARAMETER
                }
                Error::Empty { .. } => ATTRACTOR_ERROR_EMPTY,
                Error::Unsupported { .. } => ATTRACTOR_ERROR_UNSUPPORTED,
                Error::UnknownId { .. } => ATTRACTOR_ERROR_UNKNOWN_ID,
                Error::NoAdapter { .. } => ATTRACTOR_ERROR_NO_ADAPTER,
                Error::NeedsGpu { .. } => ATTRACTOR_ERROR_DEVICE,
                Error::Limit { .. } => ATTRACTOR_ERROR_LIMIT,
                Error::DeviceLost { .. } => ATTRACTOR_ERROR_LOST,
                Error::File { .. } => ATTRACTOR_ERROR_FILE,
                Error::Internal { .. } => ATTRACTOR_ERROR_INTERNAL,
                Error::Cancelled { .. } => ATTRACTOR_ERROR_CANCELLED,
                Error::Range { .. } => ATTRACTOR_ERROR_RANGE,
                Error::OutOfMemory { .. } => ATTRACTOR_ERROR_OUT_OF_MEMORY,
                Error::Stale { .. } => ATTRACTOR_ERROR_STALE,
                Error::OtherDevice { .. } => ATTRACTOR_ERROR_OTHER_DEVICE,
                Error::Forked { .. } => ATTRACTOR_ERROR_FORKED,
                // `Error` is not exhaustive; a test compares this list with its variants.
                _ => ATTRACTOR_ERROR_PANIC,
            },
        }
    }

    /// The message, under the name of the function that C called.
    fn message(&self, operation: &str) -> String {
        let said = self.to_string();
        match self {
            Self::Library(error) => match said.strip_prefix(error.operation()) {
                Some(rest) => format!("{operation}{rest}"),
                None => said,
            },
            _ => format!("{operation}: {said}"),
        }
    }
}

/// What a call returns, or why it fails.
pub(crate) type Outcome<T> = Result<T, Failure>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs `body`, the whole of a call from C. A failure, of which a panic is one, is kept as this thread's last message.
///
/// That `body` is unwind safe is asserted: what a panic may leave half-done is behind a lock, which it poisons, or is
/// dropped with the call.
pub(crate) fn guard<T>(operation: &'static str, body: impl FnOnce() -> Outcome<T>) -> Result<T, attractor_error> {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(panic_message(payload.as_ref())),
    };
    let message = CString::new(failure.message(operation).replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread that is ending may have destroyed its storage.
    let _ = LAST.try_with(|last| last.replace(message));
    Err(failure.code())
}

/// [`guard`] for calls that return nothing but a code.
pub(crate) fn code(operation: &'static str, body: impl FnOnce() -> Outcome<()>) -> attractor_error {
    guard(operation, body).err().unwrap_or(attractor_error::ATTRACTOR_OK)
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let message = payload.downcast_ref::<&str>().map(|message| (*message).to_owned());
    message.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// The message of the last call of this thread that failed: one line of UTF-8, empty where none has. A call that
/// succeeds leaves the message unchanged. The string belongs to this library and stays valid until the next call of
/// this thread begins; this function is not such a call.
#[unsafe(no_mangle)]
pub extern "C" fn attractor_last_error_message() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn last() -> String {
        // SAFETY: the message lives until the next failure of this thread.
        unsafe { CStr::from_ptr(attractor_last_error_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_is_a_code_and_a_message() {
        assert_eq!(last(), "");
        assert_eq!(code("call", || panic!("number {}", 7)), attractor_error::ATTRACTOR_ERROR_PANIC);
        assert_eq!(last(), "call: panicked: number 7");
        assert_eq!(code("call", || Ok(())), attractor_error::ATTRACTOR_OK);
        assert_eq!(last(), "call: panicked: number 7", "what succeeds leaves it");
        assert_eq!(code("call", || std::panic::panic_any(3)), attractor_error::ATTRACTOR_ERROR_PANIC);
        assert_eq!(last(), "call: panicked: without a message");
        assert_eq!(code("call", || Err(Failure::Null("a\0b"))), attractor_error::ATTRACTOR_ERROR_NULL_POINTER);
        assert_eq!(last(), "call: a\u{fffd}b is NULL");
    }

    #[test]
    fn messages_are_those_of_a_thread() {
        let _ = code("here", || Err(Failure::Taken));
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(last(), "here: the answer has been taken before");
    }

    /// `Error` is not exhaustive here, so the compiler does not say where a variant has no code.
    #[test]
    fn every_error_of_the_library_has_a_code() {
        let read = |path: &str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let library = read("../src/error.rs");
        let variants = library.split("pub enum Error {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
        let names = variants.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"));
        let names: Vec<_> = names.filter(|name| name.chars().all(char::is_alphanumeric)).collect();
        assert!(names.len() >= 18, "{names:?}");
        let codes = read("src/error.rs");
        for name in names {
            // Alone, or among others of the same code.
            let there = [" => ATTRACTOR_", " | Error::", " => {\n                    ATTRACTOR_"]
                .iter()
                .any(|rest| codes.contains(&format!("Error::{name} {{ .. }}{rest}")));
            assert!(there, "Error::{name} has no code");
        }
    }
}
