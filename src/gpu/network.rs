//! Networks: each update of each iteration is a task of its own over vectors that all tasks share, so that all
//! iterations are one list of dispatches.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::answers::{check_stamp, status_of};
use super::buffer::{self, Binding, STORAGE};
use super::context::Context;
use super::engine::Engine;
use super::job::Job;
use super::kernels::staged::update_states::REPORT_WORDS;
use super::plan::problem::Problem;
use super::planning::Sizing;
use super::readback::{Submitted, Wait};
use super::schedule::Schedule;
use super::targets::{OwnedRows, Rows};
use super::task::{Goal, NetworkGoal, NetworkPart, NetworkUpdate, Task};
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::Result;
use crate::retrieval::network::{NetworkRequest, NetworkStates, NetworkStep};
use crate::retrieval::options::RetrieveOptions;
use crate::room::{numbers, zeros};
use crate::store::{Snapshot, View};
use crate::sync::lock;

const OPERATION: &str = "Network::retrieve";

/// Where an engine keeps workspaces that are not in use.
type IdleWorkspaces = Arc<Mutex<Vec<Arc<Workspace>>>>;

/// The engine of the memory of one update, and the memory as it is now.
pub(crate) type NetworkEngine<'m> = (&'m Engine, View, Snapshot);

/// Where a caller has the vectors of a network's queries, and wants them.
#[derive(Debug)]
pub(crate) struct NetworkRows<'a> {
    /// For each vector, a row for each query or one for all.
    pub starts: Vec<(Rows<'a>, bool)>,
    /// States, by the numbers of their vectors.
    pub states: Vec<(usize, Rows<'a>)>,
    pub report: Option<Rows<'a>>,
    pub timestamps: Option<wgpu::ComputePassTimestampWrites<'a>>,
}

/// The memory of one update.
struct Member<'m> {
    engine: &'m Engine,
    view: View,
    sizing: Sizing,
}

/// What is asked of the engines.
struct Networking<'m> {
    operation: &'static str,
    context: Arc<Context>,
    request: &'m NetworkRequest,
    options: &'m RetrieveOptions,
    members: Vec<Member<'m>>,
    /// The vectors that updates change, rising.
    targets: Vec<usize>,
    /// Whether states that come back are looked for.
    cycles: bool,
}

/// Where the vectors of some queries come from and go to: rows, the first of which are those of the first query.
struct Ends {
    starts: Vec<OwnedRows>,
    states: Vec<(usize, OwnedRows)>,
    report: Option<OwnedRows>,
}

/// Queries of the batch that are iterated at once: their answers on the way.
struct Part {
    queries: Range<usize>,
    stamp: u32,
}

/// Queries whose answers are read back, and the tasks that compute them.
struct ReadPart<T> {
    tasks: T,
    target: wgpu::Buffer,
    staging: wgpu::Buffer,
    part: Part,
}

/// Begins what a network is asked from `starts`, of engines on one device, at least one.
pub(crate) fn begin(
    operation: &'static str,
    request: NetworkRequest,
    starts: Vec<Vec<f32>>,
    engines: Vec<NetworkEngine<'_>>,
    options: &RetrieveOptions,
    wait: Wait,
) -> Result<Answer<NetworkStates>> {
    let (networking, _snapshots) = Networking::new(operation, &request, engines, options)?;
    let context = networking.context.clone();
    let own = networking.workspaces()?;
    let mut runs = Vec::new();
    for queries in networking.parts() {
        let ReadPart { tasks, target, staging, part } = networking.read_part(&starts, queries, &own)?;
        let schedule = Schedule::new(&context, options.faults.constant, tasks);
        runs.push((context.run(schedule, &target, staging, wait)?, part));
    }
    // What follows on the queue comes after what was submitted.
    give_back(&networking.idle_workspaces(), own);
    let submission = runs.last().and_then(|(readback, _)| readback.submission());
    let targets = networking.targets;
    let answer = async move {
        let mut states = states_of(operation, &request, starts)?;
        for (readback, part) in runs {
            part.take(&mut states, &targets, request.dim, &readback.get(wait).await?)?;
        }
        Ok(states)
    };
    Ok(Answer::on_device(Submitted { context, submission }, answer))
}

/// A job of what a network is asked, and its answer.
pub(crate) fn job(
    operation: &'static str,
    request: NetworkRequest,
    starts: Vec<Vec<f32>>,
    engines: Vec<NetworkEngine<'_>>,
    options: &RetrieveOptions,
) -> Result<(Job, Answer<NetworkStates>)> {
    let (networking, snapshots) = Networking::new(operation, &request, engines, options)?;
    // A job keeps its workspaces: others run between its slices.
    let own = networking.workspaces()?;
    let (mut tasks, mut buffers, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for queries in networking.parts() {
        let read = networking.read_part(&starts, queries, &own)?;
        tasks.push(read.tasks);
        buffers.push((read.target, read.staging));
        parts.push(read.part);
    }
    let tasks = tasks.into_iter().flatten();
    let (job, recorded) = networking.members[0].engine.job_of(operation, tasks, buffers, &options.faults, snapshots);
    let (context, spare) = (networking.context.clone(), networking.idle_workspaces());
    let targets = networking.targets;
    let answer = async move {
        let mut states = states_of(operation, &request, starts)?;
        for (readback, part) in recorded.await?.into_iter().zip(parts) {
            part.take(&mut states, &targets, request.dim, &readback.mapped().await?)?;
        }
        give_back(&spare, own);
        Ok(states)
    };
    Ok((job, Answer::on_device(Submitted { context, submission: None }, answer)))
}

/// Records what a network is asked, from and to buffers of the caller.
pub(crate) fn record(
    operation: &'static str,
    encoder: &mut wgpu::CommandEncoder,
    request: &NetworkRequest,
    rows: NetworkRows<'_>,
    engines: Vec<NetworkEngine<'_>>,
    options: &RetrieveOptions,
) -> Result<()> {
    let (networking, snapshots) = Networking::new(operation, request, engines, options)?;
    if request.batch == 0 {
        return Ok(());
    }
    let own: Vec<Arc<Workspace>> = networking
        .members
        .iter()
        .map(|member| member.engine.recording_workspace(&member.sizing, options.faults.poison))
        .collect::<Result<_>>()?;
    let tasks = networking.recorded(&rows, &own)?;
    let engine = networking.members[0].engine;
    engine.record_tasks(operation, encoder, tasks, &options.faults, rows.timestamps, snapshots)
}

/// A job of what a network is asked, from and to buffers of the caller.
pub(crate) fn job_to_buffers(
    operation: &'static str,
    request: &NetworkRequest,
    rows: &NetworkRows<'_>,
    engines: Vec<NetworkEngine<'_>>,
    options: &RetrieveOptions,
) -> Result<Job> {
    let (networking, snapshots) = Networking::new(operation, request, engines, options)?;
    let engine = networking.members[0].engine;
    if request.batch == 0 {
        return Ok(engine.empty_job());
    }
    let tasks = networking.recorded(rows, &networking.workspaces()?)?;
    Ok(engine.job_without_answer(tasks, &options.faults, snapshots))
}

/// The states of an answer, before it is there.
fn states_of(operation: &'static str, request: &NetworkRequest, starts: Vec<Vec<f32>>) -> Result<NetworkStates> {
    Ok(NetworkStates {
        vectors: starts,
        steps: zeros(operation, "steps", request.batch)?,
        change: zeros(operation, "changes", request.batch)?,
        status: Vec::new(),
    })
}

fn give_back(idle: &[IdleWorkspaces], own: Vec<Arc<Workspace>>) {
    idle.iter().zip(own).for_each(|(idle, workspace)| lock(idle).push(workspace));
}

impl<'m> Networking<'m> {
    fn new(
        operation: &'static str,
        request: &'m NetworkRequest,
        engines: Vec<NetworkEngine<'m>>,
        options: &'m RetrieveOptions,
    ) -> Result<(Self, Vec<Snapshot>)> {
        let context = engines[0].0.context.clone();
        Engine::check_steps(operation, options)?;
        let mut targets: Vec<usize> = request.steps.iter().map(|step| step.target).collect();
        targets.sort_unstable();
        targets.dedup();
        let cycles = options.stops_early() && engines.iter().all(|(engine, ..)| engine.rule.update.is_discrete());
        let batch = options.plan_for.unwrap_or(request.batch).max(1);
        let (mut members, mut snapshots) = (Vec::new(), Vec::new());
        for (engine, view, snapshot) in engines {
            let shape = Problem { previous: true, saved: false, ..engine.shape(batch, options) };
            members.push(Member { engine, view, sizing: engine.sizing(shape, options) });
            snapshots.push(snapshot);
        }
        Ok((Self { operation, context, request, options, members, targets, cycles }, snapshots))
    }

    /// The parts of the batch: what every plan has room for at once.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = |member: &Member<'_>| member.sizing.plan.query_block as usize;
        let size = self.members.iter().map(most).min().unwrap_or(1).max(1);
        let batch = self.request.batch;
        (0..batch).step_by(size).map(move |start| start..batch.min(start + size))
    }

    /// A workspace for each update.
    fn workspaces(&self) -> Result<Vec<Arc<Workspace>>> {
        self.members.iter().map(|member| member.engine.run_workspace(&member.sizing, self.options)).collect()
    }

    /// Where each of them belongs.
    fn idle_workspaces(&self) -> Vec<IdleWorkspaces> {
        self.members.iter().map(|member| member.engine.idle_workspaces.clone()).collect()
    }

    /// The tasks of queries that start from host memory, and the buffers that their answers are read back from: the
    /// targets, then the reports.
    fn read_part(
        &self,
        starts: &[Vec<f32>],
        queries: Range<usize>,
        own: &[Arc<Workspace>],
    ) -> Result<ReadPart<impl Iterator<Item = Task> + Send + Sync + use<>>> {
        let (dim, count) = (self.request.dim, queries.len());
        let rows = |start: &Vec<f32>| -> Result<OwnedRows> {
            let rows = bytemuck::cast_slice(&start[queries.start * dim..queries.end * dim]);
            Ok(OwnedRows::at(&self.context.upload("attractor.queries", rows)?, 0))
        };
        let bytes = 4 * (count * dim) as u64;
        let states = self.targets.len() as u64 * bytes;
        let (target, staging) = self.context.answer_buffers(states + 4 * count as u64 * u64::from(REPORT_WORDS))?;
        let places = self.targets.iter().zip(0..);
        let ends = Ends {
            starts: starts.iter().map(rows).collect::<Result<_>>()?,
            states: places.map(|(vector, place)| (*vector, OwnedRows::at(&target, place * bytes))).collect(),
            report: Some(OwnedRows::at(&target, states)),
        };
        let stamp = self.context.next_stamp();
        let tasks = self.tasks(ends, queries.clone(), own, stamp)?;
        Ok(ReadPart { tasks, target, staging, part: Part { queries, stamp } })
    }

    /// The tasks of all queries, from and to buffers of the caller.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::OtherDevice`](crate::Error::OtherDevice) for buffers that do
    /// not serve; [`Error::Limit`](crate::Error::Limit) for rows that are too far apart.
    fn recorded(
        &self,
        rows: &NetworkRows<'_>,
        own: &[Arc<Workspace>],
    ) -> Result<impl Iterator<Item = Task> + Send + Sync + use<>> {
        let (dim, batch) = (self.request.dim, self.request.batch);
        let Member { engine, sizing, .. } = &self.members[0];
        let each = self.parts().next().map_or(0, |part| part.len());
        let check = |what, rows: Rows<'_>, count: usize, columns| -> Result<()> {
            engine.check_rows(self.operation, count, &[(what, Some(rows), columns)])?;
            let span = [(Some(&rows.into()), columns)];
            engine.check_row_spans(self.operation, count.min(each), &span, sizing)
        };
        for (rows, for_all) in &rows.starts {
            check("start", *rows, if *for_all { 1 } else { batch }, dim)?;
        }
        for (_, rows) in &rows.states {
            check("state", *rows, batch, dim)?;
        }
        if let Some(rows) = rows.report {
            check("report", rows, batch, REPORT_WORDS as usize)?;
        }
        let start = |(rows, for_all): &(Rows<'_>, bool)| {
            let rows = OwnedRows::from(*rows);
            OwnedRows { stride: if *for_all { Some(0) } else { rows.stride }, ..rows }
        };
        let ends = Ends {
            starts: rows.starts.iter().map(start).collect(),
            states: rows.states.iter().map(|(vector, rows)| (*vector, (*rows).into())).collect(),
            report: rows.report.map(OwnedRows::from),
        };
        let stamp = self.context.next_stamp();
        let parts = self.parts().map(|queries| self.tasks(ends.starting_at(queries.start, dim), queries, own, stamp));
        Ok(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten())
    }

    /// The tasks of all iterations of some queries, on the workspaces of the updates.
    fn tasks(
        &self,
        ends: Ends,
        queries: Range<usize>,
        own: &[Arc<Workspace>],
        stamp: u32,
    ) -> Result<impl Iterator<Item = Task> + Send + Sync + use<>> {
        let count = queries.len();
        let row = 16 * u64::from(self.members[0].sizing.shape.key_vectors);
        let make = |label| -> Result<Binding> {
            Ok(Binding::from(&buffer::create(&self.context, label, row * count as u64, STORAGE)?))
        };
        let vectors: Vec<Binding> =
            (0..self.request.vectors).map(|_| make("attractor.vector")).collect::<Result<_>>()?;
        // Where updates go together, products are of what states were before the iteration.
        let seen: Vec<Binding> = (0..vectors.len())
            .map(|vector| match self.request.together && self.targets.contains(&vector) {
                true => make("attractor.seen"),
                false => Ok(vectors[vector].clone()),
            })
            .collect::<Result<_>>()?;
        let states = || self.targets.iter().map(|target| vectors[*target].clone());
        let copied: Vec<(Binding, Binding)> = match self.request.together {
            true => states().zip(self.targets.iter().map(|target| seen[*target].clone())).collect(),
            false => Vec::new(),
        };
        let compared: Vec<(Binding, Binding)> = match self.cycles {
            true => states().map(|state| Ok((state, make("attractor.saved")?))).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        let task = |number: usize, vector: &Binding, part: NetworkPart| -> Result<Task> {
            let Member { engine, view, sizing } = &self.members[number];
            let workspace = Arc::new(own[number].of_network(&own[0], vector));
            let goal = Goal::Network(Box::new(NetworkGoal { count, part }));
            let mut task = engine.task(sizing, workspace, self.options, view, queries.clone(), stamp, goal)?;
            // The updates of an iteration are reported together, whatever ends them.
            task.operands.advances = true;
            Ok(task)
        };
        let mut loads = Vec::new();
        for (number, (vector, rows)) in vectors.iter().zip(ends.starts).enumerate() {
            let (further, lists) = (number > 0, number + 1 == vectors.len());
            loads.push(task(0, vector, NetworkPart::Load { rows, further, lists })?);
        }
        let seen: Arc<[Binding]> = seen.into();
        let last = self.request.steps.len() - 1;
        let updates: Vec<Task> = self
            .request
            .steps
            .iter()
            .enumerate()
            .map(|(number, step)| {
                let NetworkStep { target, factors, complex } = step;
                let update = NetworkUpdate {
                    step: 0,
                    first: number == 0,
                    last: number == last,
                    copied: if number == 0 { copied.clone() } else { Vec::new() },
                    compared: if number == last { compared.clone() } else { Vec::new() },
                    vectors: seen.clone(),
                    factors: factors.clone(),
                    complex: *complex,
                };
                task(number, &vectors[*target], NetworkPart::Update(update))
            })
            .collect::<Result<_>>()?;
        let mut answers = Vec::new();
        for (vector, rows) in ends.states {
            answers.push(task(0, &vectors[vector], NetworkPart::Answer { rows })?);
        }
        if let Some(rows) = ends.report {
            answers.push(task(0, &vectors[0], NetworkPart::Report { rows })?);
        }
        let numbers = 0..updates.len();
        let iterations = (1..=self.options.max_steps())
            .flat_map(move |step| numbers.clone().map(move |number| (step, number)))
            .map(move |(step, number)| updates[number].at_step(step));
        Ok(loads.into_iter().chain(iterations).chain(answers))
    }
}

impl Ends {
    /// The same of the queries from `first` on.
    fn starting_at(&self, first: usize, dim: usize) -> Self {
        let from = |rows: &OwnedRows, columns: usize| {
            let offset = rows.offset + 4 * first as u64 * rows.stride(columns);
            OwnedRows { offset, ..rows.clone() }
        };
        Self {
            starts: self.starts.iter().map(|rows| from(rows, dim)).collect(),
            states: self.states.iter().map(|(vector, rows)| (*vector, from(rows, dim))).collect(),
            report: self.report.as_ref().map(|rows| from(rows, REPORT_WORDS as usize)),
        }
    }
}

impl Part {
    /// Takes the answers in `bytes`.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) where a report does not carry the stamp.
    fn take(&self, states: &mut NetworkStates, targets: &[usize], dim: usize, bytes: &[u8]) -> Result<()> {
        let count = self.queries.len();
        let words = numbers::<u32>(OPERATION, "states", bytes)?;
        let (rows, reports) = words.split_at(targets.len() * count * dim);
        for (target, rows) in targets.iter().zip(rows.chunks_exact(count * dim)) {
            let to = &mut states.vectors[*target][self.queries.start * dim..self.queries.end * dim];
            to.iter_mut().zip(rows).for_each(|(to, bits)| *to = f32::from_bits(*bits));
        }
        for (query, report) in reports.as_chunks::<{ REPORT_WORDS as usize }>().0.iter().take(count).enumerate() {
            let [carried, steps, change, status] = *report;
            let query = self.queries.start + query;
            check_stamp(OPERATION, query, carried, self.stamp)?;
            states.steps[query] = steps;
            states.change[query] = f32::from_bits(change);
            states.status.push(status_of(status));
        }
        Ok(())
    }
}
