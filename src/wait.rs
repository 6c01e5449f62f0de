//! Waiting for a device on the calling thread. Native programs may; in a browser the answer comes on the very thread
//! that would wait for it, so a call that would have to wait is refused there.

use crate::error::Result;

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use super::Result;

    /// Refuses `operation` where it must not wait for a device.
    #[allow(clippy::unnecessary_wraps, reason = "browsers refuse")]
    pub fn check(_operation: &'static str) -> Result<()> {
        Ok(())
    }

    /// What `future` resolves to, waiting for it on this thread.
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

    /// What `future` resolves to if that is there already, as it is on the CPU engine.
    pub fn block_on<T>(operation: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
        future.now_or_never().unwrap_or_else(|| Err(check(operation).expect_err("browsers do not wait")))
    }
}

pub(crate) use platform::{block_on, check};
