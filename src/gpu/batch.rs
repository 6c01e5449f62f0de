//! Retrievals that this library submits: a batch is cut into sub-batches of bounded size.

use std::sync::Arc;

use super::answers::{Answers, MemoryFacts};
use super::buffer;
use super::engine::Engine;
use super::planning::Sizing;
use super::readback::{Submitted, Wait};
use super::schedule::Schedule;
use super::streaming::Run;
use super::targets::OwnedRows;
use super::task::{Goal, Task};
use super::upload::fill;
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::Result;
use crate::mask::Mask;
use crate::retrieval::options::{RetrieveOptions, WeightsOf};
use crate::retrieval::report::Retrieval;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::{Snapshot, View};
use crate::sync::lock;

/// The most bytes of queries, of masks, and of answers of one sub-batch of several queries.
pub(super) const MAX_SUB_BATCH_BYTES: u64 = 64 << 20;

/// A batch whose sub-batches share a workspace.
#[derive(Clone, Copy)]
pub(crate) struct BatchRequest<'a> {
    pub queries: &'a [f32],
    pub options: &'a RetrieveOptions,
    pub weighed: &'a WeightQueries,
    pub view: &'a View,
    pub facts: MemoryFacts,
    pub sizing: &'a Sizing,
    pub workspace: &'a Arc<Workspace>,
}

/// Queries that are answered by one task.
pub(crate) struct SubBatch {
    pub task: Task,
    /// The buffer that the answers are computed in, and the one that the host maps.
    pub target: wgpu::Buffer,
    pub staging: wgpu::Buffer,
    pub layout: AnswerLayout,
}

/// How the answers of a sub-batch are laid out, and the stamp that they must carry.
pub(crate) struct AnswerLayout {
    pub stamp: u32,
    pub answers: Answers,
    /// For each query whose weights are reported: the row of `Retrieval::weights` that they go to.
    pub places: Vec<usize>,
}

/// Joins the answers of sub-batches, in order, to one retrieval.
pub(crate) struct Collector {
    retrieval: Retrieval,
    tolerance: f32,
}

impl Collector {
    pub fn new(
        operation: &'static str,
        facts: &MemoryFacts,
        view: &View,
        batch: usize,
        options: &RetrieveOptions,
    ) -> Result<Self> {
        let retrieval = Retrieval::with_room(operation, &facts.layout, batch, facts.patterns, &view.names, options)?;
        Ok(Self { retrieval, tolerance: options.tolerance() })
    }

    /// Appends the answers in `bytes`, which `layout` describes.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) where an answer does not carry the stamp.
    pub fn append(&mut self, layout: &AnswerLayout, bytes: &[u8]) -> Result<()> {
        let AnswerLayout { stamp, answers, places } = layout;
        answers.take(&mut self.retrieval, bytes, *stamp, self.tolerance, places)
    }

    pub fn finish(self) -> Retrieval {
        self.retrieval
    }
}

impl Engine {
    /// Submits a retrieval for the rows of `queries`, which have been validated; where rows stream, it is submitted
    /// while the answer is awaited, which `snapshot` lasts until.
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
        wait: Wait,
        snapshot: Option<Snapshot>,
    ) -> Result<Answer<Retrieval>> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let facts = self.facts(view.alive());
        let mut collector = Collector::new(operation, &facts, view, batch, options)?;
        if batch == 0 {
            return Ok(Answer::ready(collector.finish()));
        }
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = self.run_workspace(&sizing, options)?;
        let weighed = WeightQueries::new(operation, &options.weights)?;
        let request =
            BatchRequest { queries, options, weighed: &weighed, view, facts, sizing: &sizing, workspace: &workspace };
        let mut runs: Vec<(Run, AnswerLayout)> = Vec::new();
        for part in self.sub_batches(batch, &sizing, options) {
            let SubBatch { task, target, staging, layout } = self.sub_batch(&request, part)?;
            let schedule = Schedule::new(&self.context, options.faults.constant, [task]);
            runs.push((self.start(operation, schedule, &workspace, (target, staging), wait)?, layout));
        }
        let runs = self.joined(runs, workspace, wait, snapshot);
        let submission = runs.submission();
        let answer = async move {
            runs.take(|layout, bytes| collector.append(layout, bytes)).await?;
            Ok(collector.finish())
        };
        Ok(Answer::on_device(Submitted { context: self.context.clone(), submission }, answer))
    }

    /// Uploads queries `part` of a batch and allocates their answers.
    pub fn sub_batch(&self, request: &BatchRequest<'_>, part: std::ops::Range<usize>) -> Result<SubBatch> {
        let BatchRequest { queries, options, weighed, view, facts, sizing, workspace } = *request;
        let (context, dim) = (&self.context, self.layout.dim);
        // Queries whose weights are reported, counted from the start of the part, and the rows that these go to.
        let (positions, places): (Vec<usize>, Vec<usize>) =
            weighed.of(part.clone()).map(|(query, place)| (query - part.start, place)).unzip();
        let stamp = context.next_stamp();
        let answers = Answers::new(facts, options, part.clone(), &positions);
        let rows = &queries[part.start * dim..part.end * dim];
        let source = context.upload("attractor.queries", bytemuck::cast_slice(rows))?;
        let (target, staging) = self.answer_buffers(answers.size, options)?;
        let goal = Goal::Answers(Box::new(answers.outputs(&target, OwnedRows::at(&source, 0))));
        let task = self.task(sizing, workspace.clone(), options, view, part, stamp, goal)?;
        Ok(SubBatch { task, target, staging, layout: AnswerLayout { stamp, answers, places } })
    }

    /// Cuts a batch so that the queries, masks and answers of a sub-batch fit the buffers that any device allows. Those
    /// of a single query may be larger: then the device's own limits decide.
    pub fn sub_batches(
        &self,
        batch: usize,
        sizing: &Sizing,
        options: &RetrieveOptions,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let part = self.sub_batch_size(sizing, options);
        (0..batch).step_by(part).map(move |start| start..batch.min(start + part))
    }

    /// The number of queries of every sub-batch but the last.
    pub fn sub_batch_size(&self, sizing: &Sizing, options: &RetrieveOptions) -> usize {
        let weights = options.weights != WeightsOf::None;
        let answers = Answers::bytes_per_query(self.facts(None), options, weights);
        self.part_size(answers, sizing, options)
    }

    /// The most queries of one part of a batch, of which each has answers of so many bytes.
    pub fn part_size(&self, answers: u64, sizing: &Sizing, options: &RetrieveOptions) -> usize {
        let mask = if options.mask.as_ref().is_some_and(Mask::is_per_query) { self.windows.len() / 8 } else { 0 };
        let bytes = answers.max(4 * self.layout.dim as u64).max(mask as u64);
        let block = sizing.plan.query_block as usize;
        let fits = ((MAX_SUB_BATCH_BYTES / bytes) as usize).max(1);
        if fits > block { fits / block * block } else { fits }
    }

    /// The buffer that answers are computed in, and the one that the host maps.
    pub fn answer_buffers(&self, size: u64, options: &RetrieveOptions) -> Result<(wgpu::Buffer, wgpu::Buffer)> {
        let (target, staging) = self.context.answer_buffers(size)?;
        if !options.faults.poison {
            return Ok((target, staging));
        }
        let poison = vec![0xa5; size as usize];
        let (usage, filled) = (target.usage(), Some(fill(&poison)));
        Ok((buffer::create_with(&self.context, "attractor.answers", size, usage, filled)?, staging))
    }

    /// A workspace of its own for a run that tests poison, otherwise as [`Engine::workspace`].
    pub fn run_workspace(&self, sizing: &Sizing, options: &RetrieveOptions) -> Result<Arc<Workspace>> {
        match options.faults.poison {
            false => self.workspace(sizing),
            true => Ok(Arc::new(self.new_workspace(sizing, true)?)),
        }
    }

    /// A workspace for `sizing`, to be recycled once everything that uses it has been submitted.
    pub fn workspace(&self, sizing: &Sizing) -> Result<Arc<Workspace>> {
        let spare = lock(&self.idle_workspaces).pop();
        let holds = |workspace: &Arc<Workspace>| {
            workspace.sizes.hold(&sizing.sizes) && (workspace.slots.is_some() || !self.streams())
        };
        match spare.filter(holds) {
            Some(workspace) => Ok(workspace),
            None => Ok(Arc::new(self.new_workspace(sizing, false)?)),
        }
    }

    /// Allocates a workspace for `sizing`.
    pub fn new_workspace(&self, sizing: &Sizing, poison: bool) -> Result<Workspace> {
        Workspace::new(&self.context, sizing.sizes, self.streams().then(|| self.slot_size()), poison)
    }

    /// Keeps a workspace for later retrievals.
    pub fn recycle(&self, workspace: Arc<Workspace>) {
        lock(&self.idle_workspaces).push(workspace);
    }
}
