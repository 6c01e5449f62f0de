//! Error codes, the message of the last error, and the border that no panic crosses.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// What a call came to. The numbers stay as they are; later versions may add others.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_error {
    /// It did what was asked.
    ATTRACTOR_OK = 0,
    /// No error and no message: the answer is not there yet (`attractor_pending_take`).
    ATTRACTOR_NOT_READY = 1,
    /// A pointer is NULL where something is needed.
    ATTRACTOR_ERROR_NULL_POINTER = 2,
    /// A pointer is not aligned for what it points to.
    ATTRACTOR_ERROR_ALIGNMENT = 3,
    /// A string is not UTF-8.
    ATTRACTOR_ERROR_UTF8 = 4,
    /// The answer of this pending retrieval has been taken before.
    ATTRACTOR_ERROR_TAKEN = 5,
    /// A defect of this library: it panicked. A memory that was being changed refuses every later call, with this code.
    ATTRACTOR_ERROR_PANIC = 6,
    /// An array has the wrong length, is missing, or is one that the memory has no use for.
    ATTRACTOR_ERROR_SHAPE = 10,
    /// An input holds NaN or an infinity; the message names row and column.
    ATTRACTOR_ERROR_NOT_FINITE = 11,
    /// A parameter is outside its domain.
    ATTRACTOR_ERROR_PARAMETER = 12,
    /// A retrieval was asked of a memory without patterns.
    ATTRACTOR_ERROR_EMPTY = 13,
    /// What is asked for is not defined, or this library was built without it.
    ATTRACTOR_ERROR_UNSUPPORTED = 14,
    /// No pattern of this id is stored.
    ATTRACTOR_ERROR_UNKNOWN_ID = 15,
    /// No adapter fits what was asked; the message lists those that are there.
    ATTRACTOR_ERROR_NO_ADAPTER = 16,
    /// This device cannot do it.
    ATTRACTOR_ERROR_DEVICE = 17,
    /// It does not fit the limits of the device or of the address space.
    ATTRACTOR_ERROR_LIMIT = 18,
    /// The device failed or was lost.
    ATTRACTOR_ERROR_LOST = 19,
    /// A file is not what it should be, or the system refused it.
    ATTRACTOR_ERROR_FILE = 20,
    /// A shader could not be made: a defect of this library or of a driver.
    ATTRACTOR_ERROR_SHADER = 21,
    /// What was asked for was given up before it was done.
    ATTRACTOR_ERROR_CANCELLED = 22,
    /// A finite row lies outside the range of right answers; the message names the row and the range.
    ATTRACTOR_ERROR_RANGE = 23,
    /// Host memory ran out.
    ATTRACTOR_ERROR_OUT_OF_MEMORY = 24,
    /// Something was made from a memory that has changed since.
    ATTRACTOR_ERROR_STALE = 40,
    /// A buffer belongs to another device.
    ATTRACTOR_ERROR_OTHER_DEVICE = 41,
    /// The process was forked after its first device was made; make the first device in the child.
    ATTRACTOR_ERROR_FORKED = 50,
}

/// Why a call gives no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
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
            Self::Library(error) => match error {
                Error::Shape { .. } => ATTRACTOR_ERROR_SHAPE,
                Error::NotFinite { .. } => ATTRACTOR_ERROR_NOT_FINITE,
                Error::Parameter { .. } => ATTRACTOR_ERROR_PARAMETER,
                Error::Empty { .. } => ATTRACTOR_ERROR_EMPTY,
                Error::Unsupported { .. } => ATTRACTOR_ERROR_UNSUPPORTED,
                Error::UnknownId { .. } => ATTRACTOR_ERROR_UNKNOWN_ID,
                Error::NoAdapter { .. } => ATTRACTOR_ERROR_NO_ADAPTER,
                Error::Device { .. } => ATTRACTOR_ERROR_DEVICE,
                Error::Limit { .. } => ATTRACTOR_ERROR_LIMIT,
                Error::Lost { .. } => ATTRACTOR_ERROR_LOST,
                Error::File { .. } => ATTRACTOR_ERROR_FILE,
                Error::Shader { .. } => ATTRACTOR_ERROR_SHADER,
                Error::Cancelled { .. } => ATTRACTOR_ERROR_CANCELLED,
                Error::Range { .. } => ATTRACTOR_ERROR_RANGE,
                Error::OutOfMemory { .. } => ATTRACTOR_ERROR_OUT_OF_MEMORY,
                Error::Stale { .. } => ATTRACTOR_ERROR_STALE,
                Error::OtherDevice { .. } => ATTRACTOR_ERROR_OTHER_DEVICE,
                Error::Forked { .. } => ATTRACTOR_ERROR_FORKED,
            },
        }
    }
}

/// What a call gives, or why not.
pub(super) type Outcome<T> = Result<T, Failure>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs `body`, the whole of a call from C. A failure is remembered for this thread; a panic is one.
///
/// That `body` is unwind safe is asserted: what a panic may leave half-done is behind a lock, which it poisons, or is
/// dropped with the call.
pub(super) fn guard<T>(operation: &'static str, body: impl FnOnce() -> Outcome<T>) -> Result<T, attractor_error> {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::Panic(words(payload.as_ref())),
    };
    let code = failure.code();
    // Whatever the library called it, the caller called this.
    let failure = match failure {
        Failure::Library(error) => Failure::Library(error.named(operation)),
        failure => failure,
    };
    let message = match &failure {
        Failure::Library(error) => error.to_string(),
        failure => format!("{operation}: {failure}"),
    };
    remember(&message);
    Err(code)
}

/// [`guard`] for calls that give nothing but a code.
pub(super) fn code(operation: &'static str, body: impl FnOnce() -> Outcome<()>) -> attractor_error {
    guard(operation, body).err().unwrap_or(attractor_error::ATTRACTOR_OK)
}

fn remember(message: &str) {
    let message = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread that is ending may have no place for it any more.
    let _ = LAST.try_with(|last| last.replace(message));
}

/// What a panic said.
fn words(payload: &(dyn Any + Send)) -> String {
    let said = payload.downcast_ref::<&str>().map(|said| (*said).to_owned());
    said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// What went wrong in the last call of this thread that failed: one line of UTF-8, empty where none has. A call that
/// succeeds leaves the message as it is. The string is this library's, and stays valid until the next call of this
/// thread begins; this function is not such a call.
#[unsafe(no_mangle)]
pub extern "C" fn attractor_last_error_message() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

/// The version of this library, such as `1.2.3`. The string is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn attractor_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no zero byte"),
    };
    VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
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
}
