//! Retrievals and searches in progress.

use std::fmt;
use std::sync::{Mutex, PoisonError, TryLockError};

use attractor::{Hits, Pending, Retrieval};

use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::pointer::{Out, borrow, free};
use crate::retrieval::attractor_retrieval;
use crate::search::attractor_hits;

/// An answer that can be taken once, by any thread.
struct InProgress<T> {
    /// Absent once the answer has been taken.
    pending: Mutex<Option<Pending<T>>>,
}

impl<T> InProgress<T> {
    fn new(pending: Pending<T>) -> Self {
        Self { pending: Mutex::new(Some(pending)) }
    }

    fn is_ready(&self) -> Outcome<bool> {
        match self.pending.try_lock() {
            Ok(mut pending) => Ok(pending.as_mut().is_none_or(Pending::is_ready)),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Poisoned(_)) => Err(Failure::Poisoned),
        }
    }

    /// The answer if it is ready; nothing while another thread looks for it.
    fn try_take(&self) -> Outcome<Option<T>> {
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

    /// The answer, once it is ready. The lock is released before waiting, so that other threads get an answer at once.
    fn wait(&self) -> Outcome<T> {
        let taken = self.pending.lock().map_err(|_: PoisonError<_>| Failure::Poisoned)?.take();
        Ok(taken.ok_or(Failure::Taken)?.wait()?)
    }
}

/// A retrieval in progress. Its answer can be taken once. It depends neither on its memory nor on its device, which may
/// be changed or freed meanwhile. Any number of threads may use it at once; one of them gets the answer.
pub struct attractor_pending {
    answer: InProgress<Retrieval>,
}

/// A search in progress, as `attractor_pending` is a retrieval.
pub struct attractor_pending_hits {
    answer: InProgress<Hits>,
}

impl attractor_pending {
    pub(crate) fn new(pending: Pending<Retrieval>) -> Self {
        Self { answer: InProgress::new(pending) }
    }
}

impl attractor_pending_hits {
    pub(crate) fn new(pending: Pending<Hits>) -> Self {
        Self { answer: InProgress::new(pending) }
    }
}

impl fmt::Debug for attractor_pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("attractor_pending").field(&self.answer.pending).finish()
    }
}

impl fmt::Debug for attractor_pending_hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("attractor_pending_hits").field(&self.answer.pending).finish()
    }
}

/// What a call returns that takes an answer where there is one.
fn taken(operation: &'static str, take: impl FnOnce() -> Outcome<bool>) -> attractor_error {
    match guard(operation, take) {
        Ok(true) => attractor_error::ATTRACTOR_OK,
        Ok(false) => attractor_error::ATTRACTOR_NOT_READY,
        Err(code) => code,
    }
}

/// Whether `attractor_pending_take` would return the answer or an error. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_is_ready(pending: *mut attractor_pending) -> bool {
    let ready = guard("attractor_pending_is_ready", || {
        // SAFETY: the crate's contract.
        unsafe { borrow("pending", pending) }?.answer.is_ready()
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
    taken("attractor_pending_take", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("retrieval", retrieval) }?;
        // SAFETY: the crate's contract.
        let Some(answer) = unsafe { borrow("pending", pending) }?.answer.try_take()? else { return Ok(false) };
        out.give(attractor_retrieval::new(answer)?);
        Ok(true)
    })
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
        let answer = unsafe { borrow("pending", pending) }?.answer.wait()?;
        out.give(attractor_retrieval::new(answer)?);
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

/// Whether `attractor_pending_hits_take` would return the hits or an error. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_hits_is_ready(pending: *mut attractor_pending_hits) -> bool {
    let ready = guard("attractor_pending_hits_is_ready", || {
        // SAFETY: the crate's contract.
        unsafe { borrow("pending", pending) }?.answer.is_ready()
    });
    ready.unwrap_or(true)
}

/// Takes the hits if they are ready; free them with `attractor_hits_free`. Never waits: while they are not ready it
/// returns `ATTRACTOR_NOT_READY`. `pending` must still be freed.
///
/// Errors: as `attractor_pending_take`. `*hits` is NULL then, and while they are not ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_hits_take(
    pending: *mut attractor_pending_hits,
    hits: *mut *mut attractor_hits,
) -> attractor_error {
    taken("attractor_pending_hits_take", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("hits", hits) }?;
        // SAFETY: the crate's contract.
        let Some(answer) = unsafe { borrow("pending", pending) }?.answer.try_take()? else { return Ok(false) };
        out.give(attractor_hits::new(answer)?);
        Ok(true)
    })
}

/// Waits for the hits on this thread and takes them; free them with `attractor_hits_free`. `pending` must still be
/// freed.
///
/// Errors: as `attractor_pending_take`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_hits_wait(
    pending: *mut attractor_pending_hits,
    hits: *mut *mut attractor_hits,
) -> attractor_error {
    code("attractor_pending_hits_wait", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("hits", hits) }?;
        // SAFETY: the crate's contract.
        let answer = unsafe { borrow("pending", pending) }?.answer.wait()?;
        out.give(attractor_hits::new(answer)?);
        Ok(())
    })
}

/// Frees the handle at any time; NULL is ignored. As `attractor_pending_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_pending_hits_free(pending: *mut attractor_pending_hits) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_pending_hits_free", pending) };
}
