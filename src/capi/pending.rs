//! Retrievals on their way.

use std::fmt;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::error::{Failure, Outcome, attractor_error, code, guard};
use super::pointer::{Out, borrow, free};
use super::retrieval::attractor_retrieval;
use crate::pending::Pending;
use crate::retrieval::Retrieval;

/// A retrieval on its way. Its answer can be taken once. It depends neither on the memory nor on the device that it is from,
/// which may be changed or freed meanwhile. Any number of threads may use it at once; one of them gets the answer.
pub struct attractor_pending {
    /// Absent once the answer has been taken.
    pending: Mutex<Option<Pending<Retrieval>>>,
}

impl attractor_pending {
    pub(super) fn new(pending: Pending<Retrieval>) -> Self {
        Self { pending: Mutex::new(Some(pending)) }
    }

    /// The answer if it is there; absent too where another thread is at it.
    fn try_take(&self) -> Outcome<Option<Retrieval>> {
        let mut pending = match self.pending.try_lock() {
            Ok(pending) => pending,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Poisoned(_)) => return Err(Failure::Poisoned),
        };
        let Some(answer) = pending.as_mut().ok_or(Failure::Taken)?.try_take() else {
            return Ok(None);
        };
        *pending = None;
        Ok(Some(answer?))
    }
}

impl fmt::Debug for attractor_pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("attractor_pending").field(&self.pending).finish()
    }
}

/// Whether `attractor_pending_take` has something to say: the answer, or an error. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_is_ready(pending: *mut attractor_pending) -> bool {
    let ready = guard("attractor_pending_is_ready", || {
        // SAFETY: the module's contract.
        let pending = unsafe { borrow("pending", pending) }?;
        match pending.pending.try_lock() {
            Ok(mut pending) => Ok(pending.as_mut().is_none_or(Pending::is_ready)),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Poisoned(_)) => Err(Failure::Poisoned),
        }
    });
    ready.unwrap_or(true)
}

/// Takes the answer, if it is there, to be freed by `attractor_retrieval_free`. Never waits: `ATTRACTOR_NOT_READY` says that
/// it is still on its way. `pending` remains to be freed.
///
/// Errors: `ATTRACTOR_ERROR_LOST` where the device failed, once, in place of the answer; `ATTRACTOR_ERROR_TAKEN`;
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, as while it is not ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_take(
    pending: *mut attractor_pending,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    let taken = guard("attractor_pending_take", || {
        // SAFETY: the module's contract.
        let out = unsafe { Out::handle("retrieval", retrieval) }?;
        // SAFETY: the module's contract.
        let Some(answer) = unsafe { borrow("pending", pending) }?.try_take()? else { return Ok(false) };
        out.give(attractor_retrieval::new("attractor_pending_take", answer)?);
        Ok(true)
    });
    match taken {
        Ok(true) => attractor_error::ATTRACTOR_OK,
        Ok(false) => attractor_error::ATTRACTOR_NOT_READY,
        Err(code) => code,
    }
}

/// Waits for the answer on this thread and takes it, to be freed by `attractor_retrieval_free`. `pending` remains to be
/// freed.
///
/// Errors: as `attractor_pending_take`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_wait(
    pending: *mut attractor_pending,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    code("attractor_pending_wait", || {
        // SAFETY: the module's contract.
        let out = unsafe { Out::handle("retrieval", retrieval) }?;
        // SAFETY: the module's contract.
        let pending = &unsafe { borrow("pending", pending) }?.pending;
        // Whoever asks meanwhile is told at once, so the lock is not held while this waits.
        let taken = pending.lock().map_err(|_: PoisonError<_>| Failure::Poisoned)?.take();
        out.give(attractor_retrieval::new("attractor_pending_wait", taken.ok_or(Failure::Taken)?.wait()?)?);
        Ok(())
    })
}

/// Frees the handle at any time; NULL is left alone. Never waits: work that is under way runs to its end, unheard.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_free(pending: *mut attractor_pending) {
    // SAFETY: the module's contract.
    unsafe { free("attractor_pending_free", pending) };
}
