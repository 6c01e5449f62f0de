//! Jobs: retrievals and searches that a host records slice by slice, and a queue of them that shares one budget of GPU
//! time.

use std::time::Duration;

use crate::error::Result;
pub use crate::gpu::{Job, JobSlice};

/// Jobs that share a budget: those of higher priority first, among equals the older.
#[derive(Debug, Default)]
pub struct JobQueue {
    /// By falling priority.
    waiting: Vec<(i32, JobId, Job)>,
    next: u64,
}

/// Names a job among [`JobQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(u64);

impl JobQueue {
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
    pub fn advance(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<JobSlice> {
        let mut all = JobSlice { dispatches: 0, estimate: Duration::ZERO, done: true };
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
