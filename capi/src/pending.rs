//! Retrievals in progress.

use std::fmt;
use std::sync::{Mutex, PoisonError, TryLockError};

use attractor::{Pending, Retrieval};

use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::pointer::{Out, borrow, free};
use crate::retrieval::attractor_retrieval;

/// A retrieval in progress. Its answer can be taken once. It depends neither on its memory nor on its device, which may
/// be changed or freed meanwhile. Any number of threads may use it at once; one of them gets the answer.
pub struct attractor_pending {
    /// Absent once the answer has been taken.
    pending: Mutex<Option<Pending<Retrieval>>>,
}

impl attractor_pending {
    pub(crate) fn new(pending: Pending<Retrieval>) -> Self {
        Self { pending: Mutex::new(Some(pending)) }
    }

    /// The answer if it is ready; nothing while another thread looks for it.
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

/// Whether `attractor_pending_take` would return the answer or an error. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_is_ready(pending: *mut attractor_pending) -> bool {
    let ready = guard("attractor_pending_is_ready", || {
        // SAFETY: the crate's contract.
        let pending = unsafe { borrow("pending", pending) }?;
        match pending.pending.try_lock() {
            Ok(mut pending) => Ok(pending.as_mut().is_none_or(Pending::is_ready)),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Poisoned(_)) => Err(Failure::Poisoned),
        }
    });
    ready.unwrap_or(true)
}

/// Takes the answer if it is ready; free it with `attractor_retrieval_free`. Never waits: while the answer is not ready
/// it returns `ATTRACTOR_NOT_READY`. `pending` must still be freed.
///
/// Errors: `ATTRACTOR_ERROR_LOST` where the device failed, once, in place of the answer; `ATTRACTOR_ERROR_TAKEN`;
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, and while the answer is not ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_take(
    pending: *mut attractor_pending,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    let taken = guard("attractor_pending_take", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("retrieval", retrieval) }?;
        // SAFETY: the crate's contract.
        let Some(answer) = unsafe { borrow("pending", pending) }?.try_take()? else { return Ok(false) };
        out.give(attractor_retrieval::new(answer)?);
        Ok(true)
    });
    match taken {
        Ok(true) => attractor_error::ATTRACTOR_OK,
        Ok(false) => attractor_error::ATTRACTOR_NOT_READY,
        Err(code) => code,
    }
}

/// Waits for the answer on this thread and takes it; free it with `attractor_retrieval_free`. `pending` must still be
/// freed.
///
/// Errors: as `attractor_pending_take`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_wait(
    pending: *mut attractor_pending,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    code("attractor_pending_wait", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("retrieval", retrieval) }?;
        // SAFETY: the crate's contract.
        let pending = &unsafe { borrow("pending", pending) }?.pending;
        // The lock is released before waiting, so that other threads get an answer at once.
        let taken = pending.lock().map_err(|_: PoisonError<_>| Failure::Poisoned)?.take();
        out.give(attractor_retrieval::new(taken.ok_or(Failure::Taken)?.wait()?)?);
        Ok(())
    })
}

/// Frees the handle at any time; NULL is ignored. Never waits: submitted work still completes, and its result is
/// discarded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_free(pending: *mut attractor_pending) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_pending_free", pending) };
}
