//! Runs of which rows stream through slots, and of all others: what an engine starts, and what comes back.

use std::sync::{Arc, Mutex};

use super::buffer::{self, Binding};
use super::command::Pause;
use super::context::Context;
use super::encode::encode;
use super::engine::Engine;
use super::kernels::common::LIST_CAPACITY;
use super::patterns::{Load, Wanted};
use super::readback::{Readback, Wait};
use super::schedule::Schedule;
use super::slots::Staged;
use super::workspace::{CandidateLists, Workspace};
use crate::error::{Error, Result};
use crate::room::{extend, numbers};
use crate::store::{HostRows, Snapshot};
use crate::sync::lock;

const OPERATION: &str = "stream patterns";

/// A run whose answers come back.
pub(crate) enum Run {
    /// All of it has been submitted.
    Submitted(Readback),
    /// It is submitted while its bytes are awaited.
    Streaming(Box<Streaming>),
}

/// A run that needs rows of the host: it is submitted window by window, each once the staging buffer of its slot is
/// free.
pub(crate) struct Streaming {
    context: Arc<Context>,
    schedule: Schedule,
    workspace: Arc<Workspace>,
    host: Arc<dyn HostRows>,
    /// The buffer that the answers are computed in, and the one that the host maps.
    answers: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// The call that is answered, for errors of the host's rows.
    operation: &'static str,
}

/// The runs of one batch, in order, each with what its answers are read by.
pub(crate) struct Runs<L> {
    runs: Vec<(Run, L)>,
    wait: Wait,
    /// Where rows stream: what the runs work in and on until they are done.
    held: Option<(Lease, Option<Snapshot>)>,
}

impl<L> Runs<L> {
    /// The submission that writes the last answers, where it has been made.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.runs.last().and_then(|(run, _)| run.submission())
    }

    /// Hands the answers of each run to `take`.
    ///
    /// # Errors
    /// Those of [`Run::bytes`] and of `take`.
    pub async fn take(self, mut take: impl FnMut(&L, &[u8]) -> Result<()>) -> Result<()> {
        let _held = self.held;
        for (run, layout) in self.runs {
            take(&layout, &run.bytes(self.wait).await?)?;
        }
        Ok(())
    }
}

/// A workspace that is in use until this is dropped.
struct Lease {
    workspace: Arc<Workspace>,
    idle: Arc<Mutex<Vec<Arc<Workspace>>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.idle).push(self.workspace.clone());
    }
}

impl Run {
    /// The submission that writes the answers, where it has been made.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        match self {
            Self::Submitted(readback) => readback.submission(),
            Self::Streaming(_) => None,
        }
    }

    /// The answers. The caller keeps the device polled unless it may wait: see [`Context::keep_polling`].
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; those of [`HostRows::encoded`].
    pub async fn bytes(self, wait: Wait) -> Result<Vec<u8>> {
        match self {
            Self::Submitted(readback) => readback.get(wait).await,
            Self::Streaming(streaming) => streaming.run(wait).await?.get(wait).await,
        }
    }
}

impl Streaming {
    async fn run(mut self, wait: Wait) -> Result<Readback> {
        let Some(slots) = &self.workspace.slots else {
            let message = "rows stream, but their workspace has no slots".into();
            return Err(Error::Internal { operation: OPERATION, message });
        };
        let mut staged: Option<Staged> = None;
        let mut listed: Vec<u32> = Vec::new();
        loop {
            let calls = self.schedule.next(self.context.submission())?;
            let done = self.schedule.is_done();
            if !calls.is_empty() || staged.is_some() || done {
                let submission = self.context.submit_commands(|encoder| {
                    if let Some(staged) = &staged {
                        slots.copy(staged, encoder);
                    }
                    encode(&self.context, encoder, &calls, None)?;
                    if done {
                        encoder.copy_buffer_to_buffer(&self.answers, 0, &self.staging, 0, self.staging.size());
                    }
                    Ok(())
                })?;
                if let Some(staged) = staged.take() {
                    slots.reuse(staged, &submission);
                }
                if done {
                    return Ok(Readback::new(self.context.clone(), self.staging, submission));
                }
            }
            match self.schedule.take_pause() {
                None => {}
                Some(Pause::Load(load)) => {
                    let rows = match load.wanted {
                        Wanted::All => None,
                        Wanted::Listed(_) => Some(within(&listed, &load)),
                    };
                    staged = slots.stage(self.operation, &self.context, &*self.host, load, rows, wait).await?;
                    self.schedule.resume(false);
                }
                Some(Pause::Lists(lists, queries)) => {
                    listed = self.listed(&lists, queries, wait).await?;
                    self.schedule.resume(false);
                }
                Some(Pause::Unless { list, .. }) => {
                    let skip = self.length(&list, wait).await? == 0;
                    self.schedule.resume(skip);
                }
            }
        }
    }

    /// The length of a list of queries, as the dispatches that have been submitted leave it.
    async fn length(&self, list: &Binding, wait: Wait) -> Result<u32> {
        Ok(self.words([(list, 1)], wait).await?[0])
    }

    /// The patterns that the lists of `queries` name, as the dispatches that have been submitted leave them, in order.
    async fn listed(&self, lists: &CandidateLists, queries: u32, wait: Wait) -> Result<Vec<u32>> {
        let (heads, entries) = (4 * queries as usize, 2 * LIST_CAPACITY as usize);
        let words = self.words([(&lists.heads, heads), (&lists.list, queries as usize * entries)], wait).await?;
        let (heads, lists) = words.split_at(heads);
        let mut listed = Vec::new();
        for (head, list) in heads.as_chunks::<4>().0.iter().zip(lists.chunks_exact(entries)) {
            let count = head[0].min(LIST_CAPACITY) as usize;
            extend(OPERATION, "positions", &mut listed, list.as_chunks::<2>().0[..count].iter().map(|entry| entry[0]))?;
        }
        listed.sort_unstable();
        listed.dedup();
        Ok(listed)
    }

    /// The first words of buffers, so many of each.
    async fn words<const N: usize>(&self, from: [(&Binding, usize); N], wait: Wait) -> Result<Vec<u32>> {
        let context = &self.context;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let count: usize = from.iter().map(|(_, words)| words).sum();
        let staging = buffer::create(context, "attractor.staging", 4 * count as u64, usage)?;
        let submission = context.submit_commands(|encoder| {
            let mut to = 0;
            for (binding, words) in from {
                let bytes = 4 * words as u64;
                encoder.copy_buffer_to_buffer(&binding.buffer, binding.offset, &staging, to, bytes);
                to += bytes;
            }
            Ok(())
        })?;
        let bytes = Readback::new(context.clone(), staging, submission).get(wait).await?;
        numbers(OPERATION, "lists", &bytes[..4 * count])
    }
}

/// Those of `positions`, which rise, that the window of `load` has.
fn within<'p>(positions: &'p [u32], load: &Load) -> &'p [u32] {
    let before = |end: usize| positions.partition_point(|position| (*position as usize) < end);
    &positions[before(load.first)..before(load.first + load.rows)]
}

impl Engine {
    /// Whether some rows are not on the device, but stream through it.
    pub fn streams(&self) -> bool {
        self.windows.filled().any(|window| window.storage.slot.is_some())
    }

    /// This engine as it is now ([`Engine::frozen`]), with the rows that stream.
    pub fn reading(&self, host: Arc<dyn HostRows>) -> Self {
        Self { host: Some(host), ..self.frozen() }
    }

    /// Starts the dispatches of `schedule`, whose tasks work in `workspace`, then a copy of `answers` to `staging`.
    pub fn start(
        &self,
        operation: &'static str,
        schedule: Schedule,
        workspace: &Arc<Workspace>,
        (answers, staging): (wgpu::Buffer, wgpu::Buffer),
        wait: Wait,
    ) -> Result<Run> {
        let (context, workspace) = (self.context.clone(), workspace.clone());
        Ok(match &self.host {
            None => Run::Submitted(context.run(schedule, &answers, staging, wait)?),
            Some(host) => {
                let host = host.clone();
                Run::Streaming(Box::new(Streaming { context, schedule, workspace, host, answers, staging, operation }))
            }
        })
    }

    /// Joins `runs` that were started in `workspace`. Where all of them have been submitted, they need neither the
    /// workspace nor the snapshot any more, and their answers come without a wait for the device.
    pub fn joined<L>(
        &self,
        runs: Vec<(Run, L)>,
        workspace: Arc<Workspace>,
        wait: Wait,
        snapshot: Option<Snapshot>,
    ) -> Runs<L> {
        let held = self.recycle_after(workspace).map(|lease| (lease, snapshot));
        Runs { runs, wait: if held.is_some() { wait } else { Wait::Forbidden }, held }
    }

    /// Runs the dispatches of `schedule`, as [`Engine::start`] starts them, and returns the answers.
    ///
    /// # Errors
    /// Those of [`Run::bytes`].
    pub async fn bytes_of(
        &self,
        operation: &'static str,
        schedule: Schedule,
        workspace: Arc<Workspace>,
        buffers: (wgpu::Buffer, wgpu::Buffer),
        wait: Wait,
    ) -> Result<Vec<u8>> {
        let run = self.start(operation, schedule, &workspace, buffers, wait)?;
        let _lease = self.recycle_after(workspace);
        run.bytes(wait).await
    }

    /// Keeps a workspace for later retrievals: at once where all that uses it has been submitted, or once the lease,
    /// which is held until then, is dropped.
    fn recycle_after(&self, workspace: Arc<Workspace>) -> Option<Lease> {
        match self.host {
            Some(_) => Some(Lease { workspace, idle: self.idle_workspaces.clone() }),
            None => {
                self.recycle(workspace);
                None
            }
        }
    }
}
