//! Refuses calls in the child of a fork. The child has neither the threads of `rayon` nor those of drivers, and waiting
//! for them would never end.

use crate::error::{Error, Result};

#[cfg(unix)]
mod child {
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    static CHILD: AtomicBool = AtomicBool::new(false);

    pub fn watch() {
        static WATCHES: Once = Once::new();
        WATCHES.call_once(|| {
            extern "C" fn forked() {
                CHILD.store(true, Ordering::Relaxed);
            }
            // SAFETY: the handler is a function of this program or library, and stores one flag, which is safe after
            // a fork.
            #[allow(unsafe_code, reason = "there is no other way to hear of a fork")]
            let refused = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
            if refused != 0 {
                log::warn!("attractor: calls after a fork will not be refused");
            }
        });
    }

    pub fn is_child() -> bool {
        CHILD.load(Ordering::Relaxed)
    }
}

#[cfg(not(unix))]
mod child {
    pub fn watch() {}

    pub fn is_child() -> bool {
        false
    }
}

/// Has children of this process recognised from now on.
pub(crate) use child::watch;

/// Whether this process was forked after a device was made.
pub(crate) use child::is_child;

/// Refuses `operation` in such a child.
///
/// # Errors
/// [`Error::Forked`].
pub(crate) fn check(operation: &'static str) -> Result<()> {
    if is_child() { Err(Error::Forked { operation }) } else { Ok(()) }
}
