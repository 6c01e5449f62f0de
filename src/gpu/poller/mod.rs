//! Polls a device in the background while answers are awaited: wgpu maps buffers only during a poll.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(super) use browser::{PollGuard, Poller, notify};
#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{PollGuard, Poller, notify};

/// Whether a buffer was mapped.
pub(super) type Mapped = Result<(), wgpu::BufferAsyncError>;
