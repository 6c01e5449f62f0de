//! Answers on their way: awaited by any executor, asked for once a frame, or waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::fork;
use crate::gpu;
use crate::wait;

/// What comes later. Nothing of it borrows the memory that was asked.
pub(crate) type Coming<T> = Pin<Box<dyn Future<Output = Result<T>> + Send + Sync>>;

/// An answer on its way, of [`Memory::begin`](crate::Memory::begin) or of a [`Job`](crate::Job).
///
/// It is a future that any executor can await. A loop that must not wait asks [`Pending::is_ready`] once a frame instead,
/// or takes the answer by [`Pending::try_take`] when it is there. Dropping it drops the answer; work that was submitted
/// runs to its end, unheard.
///
/// Awaiting starts a thread of ours, once a device, that polls the device without waiting while something is awaited.
/// Asking does not: on a device of ours it polls itself, without waiting, and on a host's device the host's own
/// submissions and polls bring the answer. In a browser there is no such thread: the browser itself brings it, once the
/// program returns to it.
///
/// ```
/// use attractor::{Device, Memory, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// let mut pending = memory.begin(&[0.9, 0.1], &RetrieveOptions::default())?;
/// let answer = loop {
///     // The frame's own work goes here.
///     if let Some(answer) = pending.try_take() {
///         break answer?;
///     }
/// };
/// assert!(answer.output[0] > 0.9);
/// # Ok::<(), attractor::Error>(())
/// ```
#[must_use = "an answer that nobody takes is lost"]
pub struct Pending<T> {
    /// Absent once it has come.
    coming: Option<Coming<T>>,
    come: Option<Result<T>>,
    /// The device that it comes from.
    device: Option<Arc<gpu::Context>>,
    /// What sees to it that it comes, from the first await on.
    awaited: Option<gpu::Awaited>,
    /// What to wait for on a device of ours.
    submission: Option<wgpu::SubmissionIndex>,
}

impl<T> Pending<T> {
    /// What comes from threads of ours.
    pub(crate) fn native(coming: Coming<T>) -> Self {
        Self { coming: Some(coming), come: None, device: None, awaited: None, submission: None }
    }

    /// What comes from a device, with `submission` if that is known.
    pub(crate) fn device(
        device: Arc<gpu::Context>,
        submission: Option<wgpu::SubmissionIndex>,
        coming: Coming<T>,
    ) -> Self {
        Self { coming: Some(coming), come: None, device: Some(device), awaited: None, submission }
    }

    /// Whether the answer is there. Never waits, and never polls a host's device.
    pub fn is_ready(&mut self) -> bool {
        if let Some(device) = self.device.as_ref().filter(|_| self.come.is_none()) {
            device.look();
        }
        self.advance(&mut Context::from_waker(Waker::noop()));
        self.come.is_some()
    }

    /// The answer, once, if it is there. Never waits, and never polls a host's device.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        self.is_ready();
        self.come.take()
    }

    fn advance(&mut self, context: &mut Context<'_>) {
        if let Some(coming) = &mut self.coming
            && let Poll::Ready(answer) = coming.as_mut().poll(context)
        {
            (self.coming, self.come, self.awaited) = (None, Some(answer), None);
        }
    }

    /// The answer, waiting for it on this thread; on a host's device without waiting inside the device.
    ///
    /// # Errors
    /// Those of what was asked, and [`Error::Lost`](crate::Error::Lost) where the device failed. In a browser
    /// [`Error::Unsupported`](crate::Error::Unsupported) where the answer is not there yet.
    pub fn wait(mut self) -> Result<T> {
        const OPERATION: &str = "Pending::wait";
        fork::check(OPERATION)?;
        if let (Some(device), Some(submission)) = (&self.device, self.submission.take()) {
            device.wait(&submission)?;
        }
        wait::block_on(OPERATION, self)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        fork::check("Pending::poll")?;
        self.advance(context);
        if self.coming.is_some() && self.awaited.is_none() {
            self.awaited = self.device.as_ref().map(|device| device.bring());
        }
        self.come.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Results are moved, and the rest is pinned by itself.
impl<T> Unpin for Pending<T> {}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("come", &self.come.is_some()).finish_non_exhaustive()
    }
}
