//! Answers that may not be computed yet: awaited by any executor, polled once a frame, or waited for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::answer::{Answer, AnswerFuture, Progress};
use crate::error::Result;
use crate::fork;
use crate::wait;

/// An answer that may not be computed yet, from [`Memory::retrieve`](crate::Memory::retrieve),
/// [`Memory::search`](crate::Memory::search), [`Memory::retrieve_partial`](crate::Memory::retrieve_partial) or a
/// [`Job`](crate::job::Job).
///
/// It is a future that any executor can await. A loop that must not block calls [`Pending::try_take`] once a frame
/// instead, or asks [`Pending::is_ready`]. Dropping it discards the answer; GPU work that was submitted still
/// completes.
///
/// Awaiting starts one background thread per device, which polls the device without blocking while something is
/// awaited. [`Pending::try_take`] and [`Pending::is_ready`] need no thread: they poll a device that this library
/// opened, and on a host's device the host's own submissions and polls complete the answer. In a browser there is no
/// such thread: the browser completes the answer once the program returns to it.
///
/// ```
/// use attractor::{Device, Memory, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// let mut pending = memory.retrieve(&[0.9, 0.1], &RetrieveOptions::default())?;
/// let answer = loop {
///     // The frame's own work goes here.
///     if let Some(answer) = pending.try_take() {
///         break answer?;
///     }
/// };
/// assert!(answer.output[0] > 0.9);
/// # Ok::<(), attractor::Error>(())
/// ```
#[must_use = "an answer that is neither awaited nor taken is discarded"]
pub struct Pending<T> {
    state: PendingState<T>,
    /// The device that computes the answer.
    device: Option<Box<dyn Progress>>,
    /// Keeps the device polled, from the first await until the answer is ready.
    polling: Option<Box<dyn Send + Sync>>,
}

enum PendingState<T> {
    Computing(AnswerFuture<T>),
    Ready(Result<T>),
    Taken,
}

impl<T> PendingState<T> {
    fn take(&mut self) -> Option<Result<T>> {
        match std::mem::replace(self, Self::Taken) {
            Self::Ready(answer) => Some(answer),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<T> Pending<T> {
    pub(crate) fn new(answer: Answer<T>) -> Self {
        Self { state: PendingState::Computing(answer.future), device: answer.device, polling: None }
    }

    /// What `made` makes of the answer.
    pub(crate) fn map<U>(mut self, made: impl FnOnce(Result<T>) -> Result<U> + Send + Sync + 'static) -> Pending<U>
    where
        T: Send + Sync + 'static,
    {
        let device = self.device.take();
        Pending::new(Answer { device, future: Box::pin(async move { made(self.await) }) })
    }

    /// Whether the answer can be taken. Never blocks, and never polls a host's device.
    pub fn is_ready(&mut self) -> bool {
        if let (PendingState::Computing(_), Some(device)) = (&self.state, &self.device) {
            device.poll();
        }
        self.advance(&mut Context::from_waker(Waker::noop()));
        matches!(self.state, PendingState::Ready(_))
    }

    /// The answer, once, if it is ready. Never blocks, and never polls a host's device.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        self.is_ready();
        self.state.take()
    }

    fn advance(&mut self, context: &mut Context<'_>) {
        if let PendingState::Computing(future) = &mut self.state
            && let Poll::Ready(answer) = future.as_mut().poll(context)
        {
            self.state = PendingState::Ready(answer);
            self.polling = None;
        }
    }

    /// The answer, blocking this thread until it is ready. On a host's device it blocks outside of the device.
    ///
    /// The answer of a recording or a job is ready only after the caller has submitted what was recorded: this thread
    /// then has to be another one than that which submits, or the call does not return.
    ///
    /// # Errors
    /// Those of what was asked, and [`Error::DeviceLost`](crate::Error::DeviceLost) where the device failed. In a
    /// browser [`Error::Unsupported`](crate::Error::Unsupported) where the answer is not ready yet.
    pub fn wait(self) -> Result<T> {
        const OPERATION: &str = "Pending::wait";
        fork::check(OPERATION)?;
        if let Some(device) = &self.device {
            device.wait()?;
        }
        wait::block_on(OPERATION, self)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        fork::check("Pending::poll")?;
        self.advance(context);
        if matches!(self.state, PendingState::Computing(_)) && self.polling.is_none() {
            self.polling = self.device.as_ref().map(|device| device.keep_polling());
        }
        self.state.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The future is pinned in its own box, and an answer may be moved.
impl<T> Unpin for Pending<T> {}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = matches!(self.state, PendingState::Ready(_));
        f.debug_struct("Pending").field("ready", &ready).finish_non_exhaustive()
    }
}
