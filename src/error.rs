//! The error type of this crate: each variant names the operation that failed, what it expected and what it got.

use crate::id::PatternId;

/// What can go wrong. No input given by a caller panics, but in [`reference`](crate::reference); it ends up here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A slice or buffer has the wrong number of elements.
    #[error("{operation}: expected {expected}, got {got}")]
    #[non_exhaustive]
    Shape {
        /// The call that was refused.
        operation: &'static str,
        /// What it takes, in words and numbers.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// An input holds NaN or an infinity.
    #[error("{operation}: {what} row {row}, column {column} is {value}; every value must be finite")]
    #[non_exhaustive]
    NotFinite {
        /// The call that was refused.
        operation: &'static str,
        /// Which input: `keys`, `values` or `queries`.
        what: &'static str,
        /// Row within the input given.
        row: usize,
        /// Column within that row.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// A finite row lies outside the range in which this library computes or stores right answers.
    #[error("{operation}: {what} row {row}: {got}, expected {expected}")]
    #[non_exhaustive]
    Range {
        /// The call that was refused.
        operation: &'static str,
        /// Which input: `keys`, `values`, `bias` or `queries`.
        what: &'static str,
        /// Row within the input given.
        row: usize,
        /// The range, in words and numbers.
        expected: String,
        /// What the row has.
        got: String,
    },
    /// A parameter is outside its domain.
    #[error("{operation}: {parameter} must be {expected}, got {got}")]
    #[non_exhaustive]
    Parameter {
        /// The call that was refused.
        operation: &'static str,
        /// The name of the parameter.
        parameter: &'static str,
        /// Its domain.
        expected: &'static str,
        /// What it was given.
        got: String,
    },
    /// A retrieval was asked of a memory without patterns.
    #[error("{operation}: the memory is empty; add patterns first")]
    #[non_exhaustive]
    Empty {
        /// The call that was refused.
        operation: &'static str,
    },
    /// What is asked for is not defined, or not there yet.
    #[error("{operation}: {what} is not supported")]
    #[non_exhaustive]
    Unsupported {
        /// The call that was refused.
        operation: &'static str,
        /// The feature that is missing.
        what: String,
    },
    /// No pattern of this id is stored: it was removed, or never given.
    #[error("{operation}: no pattern with id {} is stored", id.0)]
    #[non_exhaustive]
    UnknownId {
        /// The call that was refused.
        operation: &'static str,
        /// The id.
        id: PatternId,
    },
    /// No pattern of this key is stored.
    #[error("{operation}: no pattern with key {key} is stored")]
    #[non_exhaustive]
    UnknownKey {
        /// The call that was refused.
        operation: &'static str,
        /// The key: a number, or a text in quotes.
        key: String,
    },
    /// A key is stored already, or given twice.
    #[error("{operation}: the key {key} {why}")]
    #[non_exhaustive]
    DuplicateKey {
        /// The call that was refused.
        operation: &'static str,
        /// The key: a number, or a text in quotes.
        key: String,
        /// Where else it is.
        why: String,
    },
    /// No adapter fits what was asked, or the one that fits refuses to open.
    #[error("no adapter fits {asked}; found: {found}")]
    #[non_exhaustive]
    NoAdapter {
        /// The call that was refused.
        operation: &'static str,
        /// What the caller asked for.
        asked: String,
        /// The adapters of this machine, or "none".
        found: String,
    },
    /// A buffer belongs to another device than the memory.
    #[error("{operation}: {what}: the buffer belongs to another device than the memory")]
    #[non_exhaustive]
    OtherDevice {
        /// The call that was refused.
        operation: &'static str,
        /// Which buffer: `queries`, `output`, `state` or `report`.
        what: &'static str,
    },
    /// Something was made from another memory, or from a memory whose positions hold other patterns since.
    #[error("{operation}: the {what} is stale: {why}")]
    #[non_exhaustive]
    Stale {
        /// The call that was refused.
        operation: &'static str,
        /// What is stale: `mask`.
        what: &'static str,
        /// What has changed.
        why: String,
    },
    /// The call needs a GPU, and the memory or device is the CPU engine.
    #[error("{operation}: {why}")]
    #[non_exhaustive]
    NeedsGpu {
        /// The call that was refused.
        operation: &'static str,
        /// What needs a GPU.
        why: String,
    },
    /// The request does not fit the limits of the device, or of this library.
    #[error("{operation}: {limit}: needs {need}, at most {allowed} allowed")]
    #[non_exhaustive]
    Limit {
        /// The call that was refused.
        operation: &'static str,
        /// The limit's name; limits of the device as wgpu spells them.
        limit: &'static str,
        /// How much the call needs.
        need: u64,
        /// How much is allowed.
        allowed: u64,
    },
    /// Memory ran out, of the host or of the device. Nothing has changed: free something, or ask for less.
    #[error("{operation}: {}", no_memory(what, *bytes))]
    #[non_exhaustive]
    OutOfMemory {
        /// The call that failed.
        operation: &'static str,
        /// What the memory was for.
        what: &'static str,
        /// How many bytes of host memory were requested; absent where the device's memory ran out.
        bytes: Option<u64>,
    },
    /// The device was lost, and with it what is on it: open another, and rebuild memories on it
    /// ([`Memory::rebuild`](crate::Memory::rebuild)).
    #[error("{operation}: the device was lost: {message}")]
    #[non_exhaustive]
    DeviceLost {
        /// The call that failed.
        operation: &'static str,
        /// What the device said.
        message: String,
    },
    /// A mistake of this library or of a driver, to be reported: the device refused what it should accept, or its
    /// answer does not carry the completion stamp.
    #[error("{operation}: internal error: {message}")]
    #[non_exhaustive]
    Internal {
        /// The call that failed.
        operation: &'static str,
        /// What went wrong.
        message: String,
    },
    /// The process was forked after its first [`Device`](crate::Device) was made. Threads and drivers do not survive a
    /// fork: make the first device in the child, or start a new program there.
    #[error("{operation}: the process was forked after its first device was made; make the first device in the child")]
    #[non_exhaustive]
    Forked {
        /// The call that was refused.
        operation: &'static str,
    },
    /// What was asked for was given up before it was done.
    #[error("{operation}: cancelled before it was done: {why}")]
    #[non_exhaustive]
    Cancelled {
        /// The call that was given up.
        operation: &'static str,
        /// What gave it up, such as a dropped encoder or a progress callback.
        why: &'static str,
    },
    /// A file is not what it should be, or the system refused it.
    #[error("{operation}: {why}")]
    #[non_exhaustive]
    File {
        /// The call that was refused.
        operation: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, in one sentence that names the file, and the tensors and shapes that it is about.
        why: String,
        /// What the system said, where it was the system that refused.
        source: Option<std::io::Error>,
    },
}

impl Error {
    /// The call that failed, such as `Memory::add`; every message but that of [`Error::NoAdapter`] begins with it.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Shape { operation, .. }
            | Self::NotFinite { operation, .. }
            | Self::Range { operation, .. }
            | Self::Parameter { operation, .. }
            | Self::Empty { operation }
            | Self::Unsupported { operation, .. }
            | Self::UnknownId { operation, .. }
            | Self::UnknownKey { operation, .. }
            | Self::DuplicateKey { operation, .. }
            | Self::OtherDevice { operation, .. }
            | Self::Stale { operation, .. }
            | Self::NeedsGpu { operation, .. }
            | Self::Limit { operation, .. }
            | Self::OutOfMemory { operation, .. }
            | Self::DeviceLost { operation, .. }
            | Self::Internal { operation, .. }
            | Self::Cancelled { operation, .. }
            | Self::NoAdapter { operation, .. }
            | Self::Forked { operation }
            | Self::File { operation, .. } => operation,
        }
    }

    /// The error of an answer that ends because of this one.
    pub(crate) fn of_answer(&self, operation: &'static str) -> Self {
        match self {
            Self::OutOfMemory { what, bytes, .. } => Self::OutOfMemory { operation, what, bytes: *bytes },
            Self::DeviceLost { message, .. } => Self::DeviceLost { operation, message: message.clone() },
            Self::Cancelled { why, .. } => Self::Cancelled { operation, why },
            other => Self::Internal { operation, message: other.to_string() },
        }
    }

    /// The same error, of the operation that the caller called.
    pub(crate) fn named(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::Shape { operation, .. }
            | Self::NotFinite { operation, .. }
            | Self::Range { operation, .. }
            | Self::Parameter { operation, .. }
            | Self::Empty { operation }
            | Self::Unsupported { operation, .. }
            | Self::UnknownId { operation, .. }
            | Self::UnknownKey { operation, .. }
            | Self::DuplicateKey { operation, .. }
            | Self::OtherDevice { operation, .. }
            | Self::Stale { operation, .. }
            | Self::NeedsGpu { operation, .. }
            | Self::Limit { operation, .. }
            | Self::OutOfMemory { operation, .. }
            | Self::DeviceLost { operation, .. }
            | Self::Internal { operation, .. }
            | Self::Cancelled { operation, .. }
            | Self::NoAdapter { operation, .. }
            | Self::Forked { operation }
            | Self::File { operation, .. } => *operation = name,
        }
        self
    }
}

/// What a missing amount of memory was for.
fn no_memory(what: &str, bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("no host memory for {bytes} bytes of {what}"),
        None => format!("no device memory for {what}"),
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
