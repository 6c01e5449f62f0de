//! Blocking the calling thread until a device is done. Native programs may; in a browser the thread that would block is
//! the one that completes the answer, so a call that would have to block is refused there.

use crate::error::Result;

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use super::Result;

    /// Refuses `operation` where a thread must not block.
    #[allow(clippy::unnecessary_wraps, reason = "browsers refuse")]
    pub fn check(_operation: &'static str) -> Result<()> {
        Ok(())
    }

    /// The output of `future`, blocking this thread until it is ready.
    pub fn block_on<T>(_operation: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
        pollster::block_on(future)
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use futures::FutureExt;

    use super::Result;
    use crate::error::Error;

    pub fn check(operation: &'static str) -> Result<()> {
        Err(Error::Unsupported { operation, what: "waiting for a GPU in a browser, where answers are awaited,".into() })
    }

    /// The output of `future`, if it is ready, as it is on the CPU engine.
    pub fn block_on<T>(operation: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
        future.now_or_never().unwrap_or_else(|| Err(check(operation).expect_err("browsers do not wait")))
    }
}

pub(crate) use platform::{block_on, check};
