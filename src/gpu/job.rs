//! Jobs: a program that a host records slice by slice, and what is seen of how long slices take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;

use super::batch::{Asked, Collected, Part};
use super::buffer;
use super::context::Context;
use super::encode::encode;
use super::engine::Engine;
use super::pace::Expected;
use super::readback::Staged;
use super::schedule::Schedule;
use super::targets::Recording;
use super::task::Goal;
use crate::error::{Error, Result};
use crate::job::Slice;
use crate::pending::Pending;
use crate::retrieval::{Retrieval, RetrieveOptions, Weighed};
use crate::store::{Snapshot, View};

/// A retrieval that is recorded slice by slice.
pub(crate) struct Job {
    context: Arc<Context>,
    schedule: Schedule,
    read_back: Option<ReadBack>,
    /// Held until the last slice has run.
    snapshot: Option<Snapshot>,
    /// Whether a slice was recorded and then dropped.
    broken: Arc<AtomicBool>,
}

/// Answers that the host wants: where they are, where it reads them, and who waits for them.
struct ReadBack {
    answers: Vec<(wgpu::Buffer, wgpu::Buffer)>,
    to: oneshot::Sender<Result<Vec<Staged>>>,
}

/// One slice within an encoder of the host's.
struct Recorded {
    ran: bool,
    broken: Arc<AtomicBool>,
    _snapshot: Option<Snapshot>,
}

impl Recorded {
    /// It has run.
    fn end(mut self) {
        self.ran = true;
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.ran {
            self.broken.store(true, Ordering::Release);
        }
    }
}

impl Job {
    pub fn is_done(&self) -> bool {
        self.schedule.is_done()
    }

    pub fn advance(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<Slice> {
        if self.is_done() {
            return Ok(Slice { dispatches: 0, estimate: Duration::ZERO, done: true });
        }
        let recorded = self.slice(encoder, budget);
        if let Err(error) = &recorded
            && let Some(read_back) = self.read_back.take()
        {
            let told = Error::Lost { operation: "Job::advance", message: error.to_string() };
            let _ = read_back.to.send(Err(told));
        }
        recorded
    }

    fn slice(&mut self, encoder: &mut wgpu::CommandEncoder, budget: Duration) -> Result<Slice> {
        if self.broken.load(Ordering::Acquire) {
            let message = "a slice was dropped before it ran: the rest would go on from nothing".into();
            return Err(Error::Lost { operation: "Job::advance", message });
        }
        let context = &self.context;
        let calls = self.schedule.next(budget.as_secs_f64())?;
        let expected = Expected::new(context, &calls);
        let estimate = Duration::try_from_secs_f64(expected.seconds()).unwrap_or(Duration::MAX);
        let probe = context.probe()?;
        let recorded = buffer::scoped(context, "Job::advance", || {
            encode(context, encoder, &calls, probe.as_ref().map(Probe::writes))?;
            if let Some(probe) = probe {
                probe.read_after(context, encoder, expected);
            }
            Ok(())
        });
        recorded??;
        let done = self.schedule.is_done();
        let slice = Recorded {
            ran: false,
            broken: self.broken.clone(),
            _snapshot: if done { self.snapshot.take() } else { None },
        };
        encoder.on_submitted_work_done(move || slice.end());
        if done && let Some(ReadBack { answers, to }) = self.read_back.take() {
            let stage = |(answers, staging): (wgpu::Buffer, wgpu::Buffer)| {
                encoder.copy_buffer_to_buffer(&answers, 0, &staging, 0, staging.size());
                Staged::on_submit(context.clone(), staging, encoder)
            };
            // Nobody listens any more where the answer was dropped.
            let _ = to.send(Ok(answers.into_iter().map(stage).collect()));
        }
        Ok(Slice { dispatches: calls.len(), estimate, done })
    }
}

impl Engine {
    /// A job that answers checked queries, and its answer.
    pub fn job(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<(Job, Pending<Retrieval>)> {
        let context = &self.context;
        let batch = queries.len() / self.layout.dim;
        let (facts, alive) = (self.facts(view.alive()), view.alive());
        let mut collected = Collected::new(operation, &facts, view, batch, options)?;
        if batch == 0 {
            let answer = std::future::ready(Ok(collected.finish()));
            return Ok((self.no_job(), Pending::native(Box::pin(answer))));
        }
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = self.workspace(&sizing)?;
        let weighed = Weighed::new(operation, &options.weights)?;
        let asked = Asked { queries, options, weighed: &weighed, alive, facts, sizing: &sizing, workspace: &workspace };
        let (mut tasks, mut all, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for part in self.parts(batch, &sizing, options) {
            let Part { task, target, staging, laid } = self.part(&asked, part)?;
            tasks.push(task);
            answers.push((target, staging));
            all.push(laid);
        }
        let schedule = Schedule::new(context, options.hints.damage, tasks);
        let (to, from) = oneshot::channel::<Result<Vec<Staged>>>();
        let spare = self.spare.clone();
        let coming = async move {
            let staged = from.await.map_err(|_| Error::Cancelled { operation: "Memory::job" })??;
            for (staged, laid) in staged.into_iter().zip(all) {
                collected.take(&laid, &staged.come().await?)?;
            }
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
            Ok(collected.finish())
        };
        let job = Job {
            context: context.clone(),
            schedule,
            read_back: Some(ReadBack { answers, to }),
            snapshot: Some(snapshot),
            broken: Arc::default(),
        };
        Ok((job, Pending::device(context.clone(), None, Box::pin(coming))))
    }

    /// A job from and to buffers of the caller's.
    pub fn job_into(
        &self,
        operation: &'static str,
        recording: &Recording<'_>,
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<Job> {
        let context = &self.context;
        let count = recording.count;
        if count == 0 {
            return Ok(self.no_job());
        }
        let targets = self.targets(operation, recording)?;
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(count), options), options);
        self.check_spans(operation, &targets, &sizing)?;
        // Its own, as long as it lasts: others are answered between its slices.
        let workspace = self.workspace(&sizing)?;
        let (stamp, goal) = (context.next_stamp(), Goal::Answers(Box::new(targets)));
        let task = self.task(&sizing, workspace, options, view.alive(), 0..count, stamp, goal)?;
        Ok(Job {
            context: context.clone(),
            schedule: Schedule::new(context, options.hints.damage, [task]),
            read_back: None,
            snapshot: Some(snapshot),
            broken: Arc::default(),
        })
    }

    /// The job of no queries: nothing is left to record.
    fn no_job(&self) -> Job {
        let context = self.context.clone();
        Job {
            schedule: Schedule::new(&context, None, []),
            context,
            read_back: None,
            snapshot: None,
            broken: Arc::default(),
        }
    }
}

/// Timestamps around a pass, where the device has them.
#[derive(Debug)]
pub(crate) struct Probe {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// Two timestamps.
const TIMESTAMPS: u64 = 16;

impl Context {
    /// A probe that is free, or a new one.
    fn probe(&self) -> Result<Option<Probe>> {
        if !self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        if let Some(probe) = self.probes.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(Some(probe));
        }
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("attractor.times"), ty: wgpu::QueryType::Timestamp, count: 2 };
        let set = buffer::scoped(self, "Job::advance", || self.device.create_query_set(&descriptor))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = buffer::create(self, "attractor.times", TIMESTAMPS, usage)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(self, "attractor.times", TIMESTAMPS, usage)?;
        Ok(Some(Probe { set, resolved, staging }))
    }
}

impl Probe {
    fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Compares what the pass took with what was expected, once whoever owns `encoder` has submitted it.
    fn read_after(self, context: &Arc<Context>, encoder: &mut wgpu::CommandEncoder, expected: Expected) {
        encoder.resolve_query_set(&self.set, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, TIMESTAMPS);
        let context = Arc::downgrade(context);
        let staging = self.staging.clone();
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |mapped| {
            let Some(context) = context.upgrade().filter(|_| mapped.is_ok()) else { return };
            let Ok(view) = self.staging.slice(..).get_mapped_range() else { return };
            let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
            drop(view);
            self.staging.unmap();
            let ticks = times[1].saturating_sub(times[0]) as f64;
            expected.learn(ticks * f64::from(context.queue.get_timestamp_period()) * 1e-9);
            context.probes.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        });
    }
}
