//! Networks: each update of each iteration is a task of its own over vectors that all tasks share, so that all
//! iterations are one list of dispatches.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::answers::{check_stamp, status_of};
use super::buffer::{self, Binding, STORAGE};
use super::context::Context;
use super::engine::Engine;
use super::kernels::staged::update_states::REPORT_WORDS;
use super::plan::problem::Problem;
use super::planning::Sizing;
use super::readback::{Readback, Submitted, Wait};
use super::schedule::Schedule;
use super::targets::OwnedRows;
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

/// The memory of one update.
struct Member<'m> {
    engine: &'m Engine,
    view: View,
    sizing: Sizing,
}

/// What is asked of the engines.
struct Networking<'m> {
    context: Arc<Context>,
    request: &'m NetworkRequest,
    options: &'m RetrieveOptions,
    members: Vec<Member<'m>>,
    /// The vectors that updates change, rising.
    targets: Vec<usize>,
}

/// Queries of the batch that are iterated at once: their answers on the way.
struct Part {
    queries: Range<usize>,
    stamp: u32,
}

/// Begins what a network is asked, of engines on one device, at least one.
pub(crate) fn begin(
    operation: &'static str,
    request: NetworkRequest,
    engines: Vec<(&Engine, View, Snapshot)>,
    options: &RetrieveOptions,
    wait: Wait,
) -> Result<Answer<NetworkStates>> {
    let context = engines[0].0.context.clone();
    let batch = request.batch;
    Engine::check_steps(operation, options)?;
    let mut targets: Vec<usize> = request.steps.iter().map(|step| step.target).collect();
    targets.sort_unstable();
    targets.dedup();
    let members = engines
        .into_iter()
        .map(|(engine, view, _)| {
            let shape = engine.shape(options.plan_for.unwrap_or(batch).max(1), options);
            let sizing = engine.sizing(Problem { previous: true, saved: false, ..shape }, options);
            Member { engine, view, sizing }
        })
        .collect();
    let networking = Networking { context: context.clone(), request: &request, options, members, targets };
    let (mut runs, mut workspaces) = (Vec::new(), Vec::new());
    for queries in networking.parts() {
        runs.push(networking.run(queries, wait, &mut workspaces)?);
    }
    // What follows on the queue comes after what was submitted.
    for (engine, workspace) in workspaces {
        lock(&engine).push(workspace);
    }
    let submission = runs.last().and_then(|(readback, _)| readback.submission());
    let targets = networking.targets;
    let answer = async move {
        let NetworkRequest { dim, vectors, .. } = request;
        let mut states = NetworkStates {
            vectors,
            steps: zeros(operation, "steps", batch)?,
            change: zeros(operation, "changes", batch)?,
            status: Vec::new(),
        };
        for (readback, part) in runs {
            part.take(&mut states, &targets, dim, &readback.get(wait).await?)?;
        }
        Ok(states)
    };
    Ok(Answer::on_device(Submitted { context, submission }, answer))
}

impl Networking<'_> {
    /// The parts of the batch: what every plan has room for at once.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = |member: &Member<'_>| member.sizing.plan.query_block as usize;
        let size = self.members.iter().map(most).min().unwrap_or(1).max(1);
        let batch = self.request.batch;
        (0..batch).step_by(size).map(move |start| start..batch.min(start + size))
    }

    /// Submits all iterations of some queries.
    fn run(
        &self,
        queries: Range<usize>,
        wait: Wait,
        workspaces: &mut Vec<(IdleWorkspaces, Arc<Workspace>)>,
    ) -> Result<(Readback, Part)> {
        let (context, dim, count) = (&self.context, self.request.dim, queries.len());
        let stamp = context.next_stamp();
        let row = 16 * u64::from(self.members[0].sizing.shape.key_vectors);
        let make = |label| -> Result<Binding> {
            Ok(Binding::from(&buffer::create(context, label, row * count as u64, STORAGE)?))
        };
        let vectors: Vec<Binding> =
            self.request.vectors.iter().map(|_| make("attractor.vector")).collect::<Result<_>>()?;
        // Where updates go together, products are of what states were before the iteration.
        let seen: Vec<Binding> = (0..vectors.len())
            .map(|vector| match self.request.together && self.targets.contains(&vector) {
                true => make("attractor.seen"),
                false => Ok(vectors[vector].clone()),
            })
            .collect::<Result<_>>()?;
        let saved: Vec<(Binding, Binding)> = match self.request.together {
            true => self.targets.iter().map(|target| (vectors[*target].clone(), seen[*target].clone())).collect(),
            false => Vec::new(),
        };
        let own: Vec<Arc<Workspace>> = self
            .members
            .iter()
            .map(|member| member.engine.run_workspace(&member.sizing, self.options))
            .collect::<Result<_>>()?;
        let task = |number: usize, vector: &Binding, part: NetworkPart| -> Result<Task> {
            let member = &self.members[number];
            let workspace = Arc::new(own[number].of_network(&own[0], vector));
            let goal = Goal::Network(Box::new(NetworkGoal { count, part }));
            let (engine, sizing) = (member.engine, &member.sizing);
            let mut task = engine.task(sizing, workspace, self.options, &member.view, queries.clone(), stamp, goal)?;
            // The updates of an iteration are reported together, whatever ends them.
            task.operands.advances = true;
            Ok(task)
        };
        let bytes = 4 * (count * dim) as u64;
        let (target, staging) =
            context.answer_buffers(self.targets.len() as u64 * bytes + 4 * count as u64 * u64::from(REPORT_WORDS))?;
        let mut tasks = Vec::new();
        for (number, (vector, rows)) in vectors.iter().zip(&self.request.vectors).enumerate() {
            let rows = bytemuck::cast_slice(&rows[queries.start * dim..queries.end * dim]);
            let rows = OwnedRows::at(&context.upload("attractor.queries", rows)?, 0);
            tasks.push(task(0, vector, NetworkPart::Load { rows, lists: number + 1 == vectors.len() })?);
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
                    saved: if number == 0 { saved.clone() } else { Vec::new() },
                    vectors: seen.clone(),
                    factors: factors.clone(),
                    complex: *complex,
                };
                task(number, &vectors[*target], NetworkPart::Update(update))
            })
            .collect::<Result<_>>()?;
        let mut answers = Vec::new();
        for (place, vector) in self.targets.iter().enumerate() {
            let rows = OwnedRows::at(&target, place as u64 * bytes);
            let report = (place == 0).then(|| OwnedRows::at(&target, self.targets.len() as u64 * bytes));
            answers.push(task(0, &vectors[*vector], NetworkPart::Answer { rows, report })?);
        }
        let numbers = 0..updates.len();
        let iterations = (1..=self.options.max_steps())
            .flat_map(move |step| numbers.clone().map(move |number| (step, number)))
            .map(move |(step, number)| updates[number].at_step(step));
        let tasks = tasks.into_iter().chain(iterations).chain(answers);
        let schedule = Schedule::new(context, self.options.faults.constant, tasks);
        let readback = context.run(schedule, &target, staging, wait)?;
        for (member, workspace) in self.members.iter().zip(own) {
            workspaces.push((member.engine.idle_workspaces.clone(), workspace));
        }
        Ok((readback, Part { queries, stamp }))
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
