//! Jobs: retrievals and searches that a host records slice by slice, each within a budget of GPU time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::oneshot;

use super::batch::{BatchRequest, Collector, SubBatch};
use super::buffer;
use super::context::Context;
use super::encode::encode;
use super::engine::Engine;
use super::estimate::Estimate;
use super::readback::{Readback, Submitted, dropped};
use super::schedule::Schedule;
use super::targets::RecordTargets;
use super::task::{Goal, Task};
use super::timestamps::TimestampQueries;
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::{Snapshot, View};
use crate::strategy::Faults;
use crate::sync::lock;

/// A retrieval or a search that a host records over as many frames as it takes, from
/// [`Memory::job`](crate::Memory::job), [`Memory::job_to_buffers`](crate::Memory::job_to_buffers) or
/// [`Memory::search_job`](crate::Memory::search_job).
///
/// [`Job::advance`] records the next slice. The slices together are the dispatches of the one-shot call, cut between
/// workgroups, so the answer has the same bits. The memory may change between slices: a job sees it as it was when the
/// job began. Slices have to be submitted in the order in which they were recorded; where one is dropped instead, the
/// job fails. Dropping the job, or [`Job::cancel`], ends it: what was recorded may still run, and its
/// [`Pending`](crate::Pending) gives [`Error::Cancelled`](crate::Error::Cancelled).
///
/// The cost of a dispatch is estimated from its work and from how long earlier slices on the same device took, where
/// the device has `TIMESTAMP_QUERY` ([`Device::recommended_features`](crate::Device::recommended_features)); otherwise
/// from the kind of device alone.
///
/// ```
/// # use attractor::wgpu;
/// # fn frame(memory: &attractor::Memory, queries: &[f32], device: &wgpu::Device, queue: &wgpu::Queue)
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
    context: Arc<Context>,
    schedule: Schedule,
    host_answer: Option<HostAnswer>,
    /// Held until the last slice has run.
    snapshots: Vec<Snapshot>,
    /// Whether a slice was recorded and then dropped.
    broken: Arc<AtomicBool>,
    slices: usize,
}

/// What one call of [`Job::advance`] recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobSlice {
    /// The number of dispatches.
    pub dispatches: usize,
    /// The GPU time that they are expected to take.
    pub estimate: Duration,
    /// Whether nothing is left to record.
    pub done: bool,
}

/// The answers of a job that are read back.
struct HostAnswer {
    /// For each part of the batch: the buffer that it is computed in, and its staging buffer.
    buffers: Vec<(wgpu::Buffer, wgpu::Buffer)>,
    /// Where the read-backs are sent once they have been recorded.
    sender: oneshot::Sender<Result<Vec<Readback>>>,
}

/// One slice within an encoder of the host's. Marks the job as broken where it is dropped without having run.
struct RecordedSlice {
    ran: bool,
    broken: Arc<AtomicBool>,
    _snapshots: Vec<Snapshot>,
}

impl RecordedSlice {
    fn has_run(mut self) {
        self.ran = true;
    }
}

impl Drop for RecordedSlice {
    fn drop(&mut self) {
        if !self.ran {
            self.broken.store(true, Ordering::Release);
        }
    }
}

impl Job {
    /// Records the next slice into `encoder`: as many dispatches as are expected to take no longer than `budget` of GPU
    /// time, but at least one workgroup of one. Neither submits nor polls. Records nothing once everything is recorded.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where an earlier slice was dropped before it ran,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::OutOfMemory`](crate::Error::OutOfMemory). The job has
    /// ended then, and its [`Pending`](crate::Pending) says why.
    pub fn advance(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<JobSlice> {
        if self.is_done() {
            return Ok(JobSlice { dispatches: 0, estimate: Duration::ZERO, done: true });
        }
        let recorded = self.record(encoder, budget);
        if let Err(error) = &recorded
            && let Some(host_answer) = self.host_answer.take()
        {
            let _ = host_answer.sender.send(Err(error.of_answer("Job::advance")));
        }
        let slice = recorded?;
        self.slices += usize::from(slice.dispatches > 0);
        Ok(slice)
    }

    /// Whether every slice has been recorded.
    pub fn is_done(&self) -> bool {
        self.schedule.is_done()
    }

    /// The number of slices that have been recorded.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// Ends the job. Dropping it does the same.
    pub fn cancel(self) {}

    fn record(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<JobSlice> {
        if self.broken.load(Ordering::Acquire) {
            return Err(dropped(&self.context.device, "Job::advance", "a slice was dropped before it ran"));
        }
        let context = &self.context;
        let calls = self.schedule.next(budget.as_secs_f64())?;
        let estimated = Estimate::new(context, &calls);
        let estimate = Duration::try_from_secs_f64(estimated.seconds()).unwrap_or(Duration::MAX);
        let timestamps = context.timestamps()?;
        let recorded = buffer::scoped(context, "Job::advance", || {
            encode(context, encoder, &calls, timestamps.as_ref().map(TimestampQueries::writes))?;
            if let Some(timestamps) = timestamps {
                let context = Arc::downgrade(context);
                timestamps.read_after(encoder, move |timestamps, ticks| {
                    let Some(context) = context.upgrade() else { return };
                    estimated.learn(ticks as f64 * f64::from(context.queue.get_timestamp_period()) * 1e-9);
                    lock(&context.idle_timestamps).push(timestamps);
                });
            }
            Ok(())
        });
        recorded??;
        let done = self.schedule.is_done();
        let slice = RecordedSlice {
            ran: false,
            broken: self.broken.clone(),
            _snapshots: if done { std::mem::take(&mut self.snapshots) } else { Vec::new() },
        };
        encoder.on_submitted_work_done(move || slice.has_run());
        if done && let Some(HostAnswer { buffers, sender }) = self.host_answer.take() {
            let stage = |(answers, staging): (wgpu::Buffer, wgpu::Buffer)| {
                encoder.copy_buffer_to_buffer(&answers, 0, &staging, 0, staging.size());
                Readback::on_submit(context.clone(), staging, encoder)
            };
            // The receiver is gone where the answer was dropped.
            let _ = sender.send(Ok(buffers.into_iter().map(stage).collect()));
        }
        Ok(JobSlice { dispatches: calls.len(), estimate, done })
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = self.is_done();
        f.debug_struct("Job").field("slices", &self.slices).field("recorded", &recorded).finish_non_exhaustive()
    }
}

impl Engine {
    /// A job for the rows of `queries`, which have been validated, and its answer.
    pub fn job(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<(Job, Answer<Retrieval>)> {
        let context = &self.context;
        let batch = queries.len() / self.layout.dim;
        let facts = self.facts(view.alive());
        let mut collector = Collector::new(operation, &facts, view, batch, options)?;
        if batch == 0 {
            return Ok((self.empty_job(), Answer::ready(collector.finish())));
        }
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = self.workspace(&sizing)?;
        let weighed = WeightQueries::new(operation, &options.weights)?;
        let request =
            BatchRequest { queries, options, weighed: &weighed, view, facts, sizing: &sizing, workspace: &workspace };
        let (mut tasks, mut layouts, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for part in self.sub_batches(batch, &sizing, options) {
            let SubBatch { task, target, staging, layout } = self.sub_batch(&request, part)?;
            tasks.push(task);
            buffers.push((target, staging));
            layouts.push(layout);
        }
        let (job, recorded) = self.job_of(operation, tasks, buffers, &options.faults, vec![snapshot]);
        let spare = self.idle_workspaces.clone();
        let answer = async move {
            for (readback, layout) in recorded.await?.into_iter().zip(layouts) {
                collector.append(&layout, &readback.mapped().await?)?;
            }
            lock(&spare).push(workspace);
            Ok(collector.finish())
        };
        let device = Submitted { context: context.clone(), submission: None };
        Ok((job, Answer::on_device(device, answer)))
    }

    /// A job of `tasks`, and the read-backs of what they compute, which begin once the last slice is recorded.
    pub fn job_of<T>(
        &self,
        operation: &'static str,
        tasks: T,
        buffers: Vec<(wgpu::Buffer, wgpu::Buffer)>,
        faults: &Faults,
        snapshots: Vec<Snapshot>,
    ) -> (Job, impl Future<Output = Result<Vec<Readback>>> + Send + Sync + use<T>)
    where
        T: IntoIterator<Item = Task, IntoIter: Send + Sync + 'static>,
    {
        let (sender, readbacks) = oneshot::channel::<Result<Vec<Readback>>>();
        let job = self.job_without_answer(tasks, faults, snapshots);
        let job = Job { host_answer: Some(HostAnswer { buffers, sender }), ..job };
        let dropped = move |_| Error::Cancelled { operation, why: "the job was dropped" };
        (job, async move { readbacks.await.map_err(dropped)? })
    }

    /// A job that reads queries from, and writes answers to, buffers of the caller.
    pub fn job_to_buffers(
        &self,
        operation: &'static str,
        recording: &RecordTargets<'_>,
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<Job> {
        let context = &self.context;
        let count = recording.count;
        if count == 0 {
            return Ok(self.empty_job());
        }
        let outputs = self.outputs(operation, recording)?;
        let options = &recording.options(operation, options)?;
        self.check_ranked(operation, &outputs, options)?;
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(count), options), options);
        self.check_spans(operation, &outputs, &sizing)?;
        // A job keeps its workspace: other retrievals run between its slices.
        let workspace = self.workspace(&sizing)?;
        let (stamp, goal) = (context.next_stamp(), Goal::Answers(Box::new(outputs)));
        let task = self.task(&sizing, workspace, options, view, 0..count, stamp, goal)?;
        Ok(self.job_without_answer([task], &options.faults, vec![snapshot]))
    }

    /// A job of `tasks` whose answers are not read back.
    pub fn job_without_answer(
        &self,
        tasks: impl IntoIterator<Item = Task, IntoIter: Send + Sync + 'static>,
        faults: &Faults,
        snapshots: Vec<Snapshot>,
    ) -> Job {
        Job {
            context: self.context.clone(),
            schedule: Schedule::new(&self.context, faults.constant, tasks),
            host_answer: None,
            snapshots,
            broken: Arc::default(),
            slices: 0,
        }
    }

    /// A job of no queries, which records nothing.
    pub fn empty_job(&self) -> Job {
        self.job_without_answer([], &Faults::default(), Vec::new())
    }
}

impl Context {
    /// Timestamp queries that are not in use, or new ones; `None` where the device has none.
    fn timestamps(&self) -> Result<Option<TimestampQueries>> {
        match lock(&self.idle_timestamps).pop() {
            Some(timestamps) => Ok(Some(timestamps)),
            None => TimestampQueries::new(self),
        }
    }
}
