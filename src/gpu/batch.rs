//! Retrievals that are submitted: a batch in parts, each with its answers on their way.

use std::sync::Arc;

use super::answers::{Answers, Facts};
use super::buffer;
use super::engine::Engine;
use super::planning::Sizing;
use super::readback::{Readback, Submitted, Wait};
use super::schedule::Schedule;
use super::targets::Place;
use super::task::{Goal, Task};
use super::upload::fill;
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::Result;
use crate::mask::Mask;
use crate::retrieval::options::{RetrieveOptions, WeightsOf};
use crate::retrieval::report::Retrieval;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::{Alive, View};
use crate::sync::lock;

/// Bytes of queries, of masks, and of answers that one submission of ours takes, as far as queries can be cut apart.
pub(super) const PART: u64 = 64 << 20;

/// A batch that is asked, whose parts have a workspace in common.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub queries: &'a [f32],
    pub options: &'a RetrieveOptions,
    pub weighed: &'a WeightQueries,
    pub alive: Option<&'a Alive>,
    pub facts: Facts,
    pub sizing: &'a Sizing,
    pub workspace: &'a Arc<Workspace>,
}

/// Queries that are answered together.
pub(crate) struct Part {
    pub task: Task,
    /// Where their answers come to, and where the host reads them.
    pub target: wgpu::Buffer,
    pub staging: wgpu::Buffer,
    pub laid: Laid,
}

/// How the answers of a part are laid out, and the stamp that they carry.
pub(crate) struct Laid {
    pub stamp: u32,
    pub answers: Answers,
    /// For each query whose weights are reported: its place in the order that was asked for.
    pub places: Vec<usize>,
}

/// Answers on their way into one retrieval.
pub(crate) struct Collected {
    retrieval: Retrieval,
    tolerance: f32,
}

impl Collected {
    pub fn new(
        operation: &'static str,
        facts: &Facts,
        view: &View,
        batch: usize,
        options: &RetrieveOptions,
    ) -> Result<Self> {
        let retrieval = Retrieval::with_room(operation, &facts.layout, batch, facts.patterns, &view.names, options)?;
        Ok(Self { retrieval, tolerance: options.tolerance() })
    }

    pub fn take(&mut self, laid: &Laid, bytes: &[u8]) -> Result<()> {
        laid.answers.take(&mut self.retrieval, bytes, laid.stamp, self.tolerance, &laid.places)
    }

    pub fn finish(self) -> Retrieval {
        self.retrieval
    }
}

impl Engine {
    /// Submits a retrieval of checked queries.
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
        wait: Wait,
    ) -> Result<Answer<Retrieval>> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let facts = self.facts(view.alive());
        let mut collected = Collected::new(operation, &facts, view, batch, options)?;
        if batch == 0 {
            return Ok(Answer::ready(collected.finish()));
        }
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = match options.hints.garbage {
            false => self.workspace(&sizing)?,
            true => Arc::new(Workspace::new(&self.context, sizing.sizes, true)?),
        };
        let weighed = WeightQueries::new(operation, &options.weights)?;
        let alive = view.alive();
        let asked = Asked { queries, options, weighed: &weighed, alive, facts, sizing: &sizing, workspace: &workspace };
        let mut parts: Vec<(Readback, Laid)> = Vec::new();
        for part in self.parts(batch, &sizing, options) {
            let Part { task, target, staging, laid } = self.part(&asked, part)?;
            let schedule = Schedule::new(&self.context, options.hints.damage, [task]);
            parts.push((self.context.submit(schedule, &target, staging, wait)?, laid));
        }
        self.give_back(workspace);
        let submission = parts.last().and_then(|(readback, _)| readback.submission());
        let answer = async move {
            for (readback, laid) in parts {
                collected.take(&laid, &readback.mapped().await?)?;
            }
            Ok(collected.finish())
        };
        Ok(Answer::on_device(Submitted { context: self.context.clone(), submission }, answer))
    }

    /// Queries `part` of what is asked: uploaded, with somewhere for their answers, and ready to be recorded.
    pub fn part(&self, asked: &Asked<'_>, part: std::ops::Range<usize>) -> Result<Part> {
        let Asked { queries, options, weighed, alive, facts, sizing, workspace } = *asked;
        let (context, dim) = (&self.context, self.layout.dim);
        // Positions within the part, each with its place in the order that was asked for.
        let (positions, places): (Vec<usize>, Vec<usize>) =
            weighed.of(part.clone()).map(|(query, place)| (query - part.start, place)).unzip();
        let stamp = context.next_stamp();
        let answers = Answers::new(facts, options, part.len(), &positions);
        let rows = &queries[part.start * dim..part.end * dim];
        let source = context.upload("attractor.queries", bytemuck::cast_slice(rows))?;
        let (mut target, staging) = context.answers(answers.size)?;
        if options.hints.garbage {
            let poison = vec![0xa5; answers.size as usize];
            let (usage, filled) = (target.usage(), Some(fill(&poison)));
            target = buffer::create_with(context, "attractor.answers", answers.size, usage, filled)?;
        }
        let goal = Goal::Answers(Box::new(answers.targets(&target, Place::at(&source, 0))));
        let task = self.task(sizing, workspace.clone(), options, alive, part, stamp, goal)?;
        Ok(Part { task, target, staging, laid: Laid { stamp, answers, places } })
    }

    /// Cuts a batch so that uploads, masks and answers of one part stay within the buffers that any device allows. A
    /// query of its own may be larger than that: then the device's own limits decide.
    pub fn parts(
        &self,
        batch: usize,
        sizing: &Sizing,
        options: &RetrieveOptions,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let part = self.part_size(sizing, options);
        (0..batch).step_by(part).map(move |start| start..batch.min(start + part))
    }

    /// Queries of one part.
    pub fn part_size(&self, sizing: &Sizing, options: &RetrieveOptions) -> usize {
        let weights = options.weights != WeightsOf::None;
        let answers = Answers::bytes_per_query(self.facts(None), options, weights);
        let mask = if options.mask.as_ref().is_some_and(Mask::is_per_query) { self.windows.len() / 8 } else { 0 };
        let bytes = answers.max(4 * self.layout.dim as u64).max(mask as u64);
        let block = sizing.plan.query_block as usize;
        let fits = ((PART / bytes) as usize).max(1);
        if fits > block { fits / block * block } else { fits }
    }

    /// A workspace that serves `sizing`, to be given back once everything that uses it has been submitted.
    pub fn workspace(&self, sizing: &Sizing) -> Result<Arc<Workspace>> {
        let spare = lock(&self.spare).pop();
        match spare.filter(|workspace| workspace.sizes.hold(&sizing.sizes)) {
            Some(workspace) => Ok(workspace),
            None => Ok(Arc::new(Workspace::new(&self.context, sizing.sizes, false)?)),
        }
    }

    pub fn give_back(&self, workspace: Arc<Workspace>) {
        lock(&self.spare).push(workspace);
    }
}
