//! Polls a device in the background while answers are awaited: wgpu maps buffers only during a poll.

#[cfg(target_arch = "wasm32")]
mod browser;
mod mapped;
#[cfg(not(target_arch = "wasm32"))]
mod native;

pub(super) use mapped::Mapped;

#[cfg(target_arch = "wasm32")]
pub(super) use browser::{PollGuard, Poller, notify};
#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{PollGuard, Poller, notify};
