//! Retrievals that are too long for one frame: recorded slice by slice into encoders of the host's, within a budget.

use std::fmt;
use std::time::Duration;

use crate::error::Result;
use crate::gpu;

/// A retrieval that a host records over as many frames as it takes, from [`Memory::job`](crate::Memory::job) or
/// [`Memory::job_into`](crate::Memory::job_into).
///
/// [`Job::advance`] records the next slice. The slices together are the dispatches of the one-shot call, cut between
/// workgroups, so the answer has the same bits. The memory may change between slices: a job sees it as it was when the
/// job began. Slices have to be submitted in the order in which they were recorded; where one is dropped instead, the job
/// fails rather than going on from nothing. Dropping the job, or [`Job::cancel`], ends it: what was recorded may still
/// run, and its [`Pending`](crate::Pending) gives [`Error::Cancelled`](crate::Error::Cancelled).
///
/// What a dispatch costs is estimated from its work and from what earlier slices on the same device were timed at, where
/// the device has `TIMESTAMP_QUERY` ([`Device::required_features`](crate::Device::required_features)); before that, and
/// without, from what kind of device it is.
///
/// ```
/// # fn frame(memory: &attractor::Memory, queries: &[f32], device: &attractor::wgpu::Device, queue: &attractor::wgpu::Queue)
/// # -> Result<(), attractor::Error> {
/// use std::time::Duration;
/// let (mut job, mut answer) = memory.job(queries, &attractor::RetrieveOptions::default())?;
/// let answer = loop {
///     let mut encoder = device.create_command_encoder(&Default::default());
///     // The frame's own passes go here.
///     job.advance(&mut encoder, Duration::from_millis(2))?;
///     queue.submit([encoder.finish()]);
///     if let Some(answer) = answer.try_take() {
///         break answer?;
///     }
/// };
/// # drop(answer); Ok(()) }
/// ```
pub struct Job {
    inner: gpu::Job,
    slices: usize,
}

/// What one call of [`Job::advance`] recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Dispatches.
    pub dispatches: usize,
    /// The GPU time that they are expected to take.
    pub estimate: Duration,
    /// Whether nothing is left to record.
    pub done: bool,
}

impl Job {
    pub(crate) fn new(inner: gpu::Job) -> Self {
        Self { inner, slices: 0 }
    }

    /// Records the next slice into `encoder`: as many dispatches as are expected to take no longer than `budget` of GPU
    /// time, but at least one workgroup of one. Neither submits nor polls. Once everything is recorded it records nothing.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost) where an earlier slice was dropped before it ran, or the device fails. The job
    /// has ended then, and its [`Pending`](crate::Pending) says why.
    pub fn advance(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<Slice> {
        let slice = self.inner.advance(encoder, budget)?;
        self.slices += usize::from(slice.dispatches > 0);
        Ok(slice)
    }

    /// Whether every slice has been recorded.
    pub fn is_recorded(&self) -> bool {
        self.inner.is_done()
    }

    /// Slices that have been recorded.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// Ends the job. Dropping it does the same.
    pub fn cancel(self) {}
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = self.is_recorded();
        f.debug_struct("Job").field("slices", &self.slices).field("recorded", &recorded).finish_non_exhaustive()
    }
}

/// Jobs that share a budget: those of higher priority first, among equals the older.
#[derive(Debug, Default)]
pub struct Jobs {
    /// By falling priority.
    waiting: Vec<(i32, JobId, Job)>,
    next: u64,
}

/// Names a job among [`Jobs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(u64);

impl Jobs {
    /// No jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job; a higher `priority` goes first.
    pub fn push(&mut self, job: Job, priority: i32) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        let at = self.waiting.partition_point(|(other, ..)| *other >= priority);
        self.waiting.insert(at, (priority, id, job));
        id
    }

    /// Jobs that are not recorded to their end.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is left to record.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Ends a job that is not recorded to its end; whether there was one.
    pub fn cancel(&mut self, id: JobId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(_, other, _)| *other != id);
        self.waiting.len() < before
    }

    /// Records slices into `encoder` within `budget` of GPU time, of one job after the other as far as it reaches.
    ///
    /// # Errors
    /// As [`Job::advance`], of a job that is then no longer among these; the others go on with the next call.
    pub fn advance(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<Slice> {
        let mut all = Slice { dispatches: 0, estimate: Duration::ZERO, done: true };
        while let Some((.., job)) = self.waiting.first_mut() {
            let left = budget.saturating_sub(all.estimate);
            if left.is_zero() && all.dispatches > 0 {
                break;
            }
            let slice = match job.advance(encoder, left) {
                Ok(slice) => slice,
                Err(error) => {
                    self.waiting.remove(0);
                    return Err(error);
                }
            };
            all.dispatches += slice.dispatches;
            all.estimate += slice.estimate;
            if !slice.done {
                break;
            }
            self.waiting.remove(0);
        }
        all.done = self.waiting.is_empty();
        Ok(all)
    }
}
