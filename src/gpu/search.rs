//! Searches: the lists of the largest scores, in order, with positions and similarities.

use std::ops::Range;
use std::sync::Arc;

use super::answers::{check_stamp, status_of};
use super::buffer;
use super::engine::Engine;
use super::explain::alike;
use super::job::Job;
use super::kernels::common::NO_PATTERN;
use super::kernels::sparse::rank_hits::REPORT_WORDS;
use super::plan::problem::Problem;
use super::planning::Sizing;
use super::range::States;
use super::readback::{Submitted, Wait};
use super::schedule::Schedule;
use super::streaming::Run;
use super::targets::{OwnedRows, SearchOutputs, SearchTargets};
use super::task::{Goal, Task};
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::Result;
use crate::explain::Explanation;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::weight_queries::WeightQueries;
use crate::room::numbers;
use crate::search::options::search_rule;
use crate::search::{Hits, SearchOptions};
use crate::store::{Snapshot, View};
use crate::sync::lock;

/// Where the hits of `count` queries, `k` places each, are in an answer buffer: bytes from its start.
struct HitsLayout {
    count: usize,
    k: usize,
    similarity: u64,
    report: u64,
    size: u64,
}

impl HitsLayout {
    fn new(count: usize, k: usize) -> Self {
        let rows = 4 * count as u64 * k as u64;
        let size = 2 * rows + 4 * count as u64 * u64::from(REPORT_WORDS);
        Self { count, k, similarity: rows, report: 2 * rows, size }
    }

    /// Appends the hits in `bytes`.
    ///
    /// # Errors
    /// [`Error::Internal`] where a report does not carry the stamp.
    fn take(&self, to: &mut Hits, bytes: &[u8], stamp: u32, view: &View) -> Result<()> {
        let words = numbers::<u32>("search", "hits", &bytes[..self.size as usize])?;
        let (positions, rest) = words.split_at(self.count * self.k);
        let (similarity, reports) = rest.split_at(self.count * self.k);
        for (query, report) in reports.as_chunks::<{ REPORT_WORDS as usize }>().0.iter().enumerate() {
            let [carried, found, hits, status] = *report;
            check_stamp("search", query, carried, stamp)?;
            let row = query * self.k..query * self.k + self.k.min(hits as usize);
            let hits = positions[row.clone()].iter().zip(&similarity[row]);
            let hits = hits.filter(|(position, _)| **position != NO_PATTERN);
            let hits = hits.map(|(position, similarity)| (*position as usize, f32::from_bits(*similarity)));
            to.push(hits, found.into(), status_of(status), &view.names);
        }
        Ok(())
    }
}

/// A search that has been asked for: the engine with scores that are similarities, and how it scores.
struct Searching {
    engine: Engine,
    /// The retrieval that scores what is searched.
    retrieval: RetrieveOptions,
    sizing: Sizing,
    /// The most patterns of a query: what was asked for, or all.
    k: usize,
    least: Option<f32>,
}

impl Searching {
    /// The outputs of `count` queries, without buffers for them but for the positions.
    fn outputs(&self, count: usize, queries: OwnedRows, (places, positions): (usize, OwnedRows)) -> SearchOutputs {
        SearchOutputs {
            count,
            queries,
            k: self.k as u32,
            places: places as u32,
            least: self.least,
            factor: self.engine.rule.similarity.measure_factor(),
            positions: Some(positions),
            similarity: None,
            report: None,
        }
    }

    /// The task for queries `part` of the batch, which carries `stamp`.
    fn task(
        &self,
        workspace: Arc<Workspace>,
        view: &View,
        part: Range<usize>,
        stamp: u32,
        outputs: SearchOutputs,
    ) -> Result<Task> {
        let goal = Goal::Hits(Box::new(outputs));
        self.engine.task(&self.sizing, workspace, &self.retrieval, view, part, stamp, goal)
    }
}

/// Queries that are searched by one task.
struct SearchPart {
    task: Task,
    /// The buffer that the hits are computed in, and the one that the host maps.
    target: wgpu::Buffer,
    staging: wgpu::Buffer,
    layout: HitsLayout,
    stamp: u32,
}

impl Searching {
    /// The most queries of one task.
    fn part_size(&self) -> usize {
        self.engine.part_size(HitsLayout::new(1, self.k).size, &self.sizing, &self.retrieval)
    }

    /// The parts of a batch.
    fn parts(&self, batch: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = self.part_size();
        (0..batch).step_by(size).map(move |start| start..batch.min(start + size))
    }

    /// Uploads queries `part` of a batch and allocates their hits.
    fn part(&self, workspace: &Arc<Workspace>, view: &View, queries: &[f32], part: Range<usize>) -> Result<SearchPart> {
        let (engine, context, k) = (&self.engine, &self.engine.context, self.k);
        let (dim, layout) = (engine.layout.dim, HitsLayout::new(part.len(), k));
        let rows = &queries[part.start * dim..part.end * dim];
        let source = context.upload("attractor.queries", bytemuck::cast_slice(rows))?;
        let (target, staging) = engine.answer_buffers(layout.size, &self.retrieval)?;
        let outputs = SearchOutputs {
            similarity: Some(OwnedRows::at(&target, layout.similarity)),
            report: Some(OwnedRows::at(&target, layout.report)),
            ..self.outputs(part.len(), OwnedRows::at(&source, 0), (k, OwnedRows::at(&target, 0)))
        };
        let stamp = context.next_stamp();
        let task = self.task(workspace.clone(), view, part, stamp, outputs)?;
        Ok(SearchPart { task, target, staging, layout, stamp })
    }
}

impl Engine {
    /// A search of `batch` queries of this engine.
    fn searching(&self, batch: usize, options: &SearchOptions) -> Searching {
        let k = options.top.min(self.windows.len());
        let engine = Self { rule: search_rule(self.rule, k), biased: false, ..self.frozen() };
        let retrieval = options.as_retrieval();
        let batch = options.plan_for.unwrap_or(batch);
        let shape = engine.shape_of(engine.rule, engine.windows.len() as u64, batch, &retrieval);
        // Lists of every pattern are lists, too, and nothing is summed.
        // Patterns that meet a threshold are counted by their scores.
        let bounded = shape.bounded && options.bound.is_none();
        let sizing = engine.sizing(Problem { fused: false, lists: true, result: false, bounded, ..shape }, &retrieval);
        Searching { engine, retrieval, sizing, k, least: options.least_score(self.rule.similarity) }
    }

    /// Refuses queries (`n x d`, finite) that a search may not answer right. Without `queries`, only what is stored is
    /// judged.
    ///
    /// # Errors
    /// As [`Engine::check_range`].
    pub fn check_search_range(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
    ) -> Result<()> {
        let (rule, dim) = (search_rule(self.rule, options.top.min(self.windows.len())), self.layout.dim);
        let range = self.magnitudes.query_range(operation, rule, dim, States::OF_SEARCH, view.alive())?;
        range.check(operation, queries, dim)
    }

    /// Submits a search for the rows of `queries`, which have been validated, as [`Engine::retrieve`] does.
    pub fn search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
        wait: Wait,
        snapshot: Option<Snapshot>,
    ) -> Result<Answer<Hits>> {
        let (dim, context) = (self.layout.dim, &self.context);
        let batch = queries.len() / dim;
        let mut hits = Hits::with_room(operation, batch, options.top.min(self.windows.len()), options.bound.is_some())?;
        if batch == 0 {
            return Ok(Answer::ready(hits));
        }
        let searching = self.searching(batch, options);
        let Searching { engine, retrieval, sizing, .. } = &searching;
        let workspace = engine.run_workspace(sizing, retrieval)?;
        let mut runs: Vec<(Run, (HitsLayout, u32))> = Vec::new();
        for part in searching.parts(batch) {
            let SearchPart { task, target, staging, layout, stamp } =
                searching.part(&workspace, view, queries, part)?;
            let schedule = Schedule::new(context, retrieval.faults.constant, [task]);
            runs.push((engine.start(operation, schedule, &workspace, (target, staging), wait)?, (layout, stamp)));
        }
        let runs = engine.joined(runs, workspace, wait, snapshot);
        let (submission, view) = (runs.submission(), view.clone());
        let answer = async move {
            runs.take(|(layout, stamp), bytes| layout.take(&mut hits, bytes, *stamp, &view)).await?;
            Ok(hits)
        };
        Ok(Answer::on_device(Submitted { context: context.clone(), submission }, answer))
    }

    /// A job that searches for the rows of `queries`, which have been validated, and its answer.
    pub fn search_job(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<(Job, Answer<Hits>)> {
        let batch = queries.len() / self.layout.dim;
        let mut hits = Hits::with_room(operation, batch, options.top.min(self.windows.len()), options.bound.is_some())?;
        if batch == 0 {
            return Ok((self.empty_job(), Answer::ready(hits)));
        }
        let searching = self.searching(batch, options);
        // A job keeps its workspace: others run between its slices.
        let workspace = self.run_workspace(&searching.sizing, &searching.retrieval)?;
        let (mut tasks, mut buffers, mut layouts) = (Vec::new(), Vec::new(), Vec::new());
        for part in searching.parts(batch) {
            let SearchPart { task, target, staging, layout, stamp } =
                searching.part(&workspace, view, queries, part)?;
            tasks.push(task);
            buffers.push((target, staging));
            layouts.push((layout, stamp));
        }
        let (job, recorded) = self.job_of(operation, tasks, buffers, &options.faults, vec![snapshot]);
        let (spare, view) = (self.idle_workspaces.clone(), view.clone());
        let answer = async move {
            for (readback, (layout, stamp)) in recorded.await?.into_iter().zip(layouts) {
                layout.take(&mut hits, &readback.mapped().await?, stamp, &view)?;
            }
            lock(&spare).push(workspace);
            Ok(hits)
        };
        Ok((job, Answer::on_device(Submitted { context: self.context.clone(), submission: None }, answer)))
    }

    /// Records a search from and to buffers of the caller. `snapshot` lives until the commands have run or are dropped.
    pub fn record_search(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        targets: &SearchTargets<'_>,
        options: &SearchOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<()> {
        let SearchTargets { count, queries, positions, similarity, report, timestamps } = targets;
        let (count, places) = (*count, options.top);
        if count == 0 {
            return Ok(());
        }
        let (dim, words) = (self.layout.dim, REPORT_WORDS as usize);
        let rows = [
            ("queries", Some(*queries), dim),
            ("positions", Some(*positions), places),
            ("similarity", *similarity, places),
            ("report", *report, words),
        ];
        self.check_rows(operation, count, &rows)?;
        let searching = self.searching(count, options);
        let outputs = SearchOutputs {
            similarity: similarity.map(OwnedRows::from),
            report: report.map(OwnedRows::from),
            ..searching.outputs(count, (*queries).into(), (places, (*positions).into()))
        };
        let spans = [
            (Some(&outputs.queries), dim),
            (outputs.positions.as_ref(), places),
            (outputs.similarity.as_ref(), places),
            (outputs.report.as_ref(), words),
        ];
        self.check_row_spans(operation, count, &spans, &searching.sizing)?;
        let workspace = self.recording_workspace(&searching.sizing, options.faults.poison)?;
        let task = searching.task(workspace, view, 0..count, self.context.next_stamp(), outputs)?;
        self.record_tasks(operation, encoder, [task], &options.faults, timestamps.clone(), vec![snapshot])
    }

    /// Compiles what a search of `batch` queries, at least one, would run.
    pub fn prepare_search(&self, batch: usize, options: &SearchOptions, view: &View) -> Result<()> {
        let searching = self.searching(batch, options);
        let workspace = self.workspace(&searching.sizing)?;
        let stand_in = buffer::create(&self.context, "attractor.answers", 16, buffer::STORAGE)?;
        let rows = || OwnedRows::at(&stand_in, 0);
        // One query block uses every kernel.
        let count = batch.min(searching.sizing.plan.query_block as usize);
        let outputs = searching.outputs(count, rows(), (searching.k, rows()));
        self.compile(searching.task(workspace.clone(), view, 0..count, 0, outputs)?, &options.faults)?;
        self.recycle(workspace);
        Ok(())
    }

    /// Explains a search of `batch` queries, at least one.
    pub fn explain_search(
        &self,
        operation: &'static str,
        batch: usize,
        options: &SearchOptions,
        view: &View,
    ) -> Result<Explanation> {
        let searching = self.searching(batch, options);
        let stand_in = buffer::create(&self.context, "attractor.answers", 16, buffer::STORAGE)?;
        let rows = || OwnedRows::at(&stand_in, 0);
        let parts = alike(batch, searching.part_size(), &WeightQueries::None);
        self.explained((operation, batch), &searching.sizing, &options.faults, parts, |workspace, part| {
            let outputs = SearchOutputs {
                similarity: Some(rows()),
                report: Some(rows()),
                ..searching.outputs(part.len(), rows(), (searching.k, rows()))
            };
            searching.task(workspace, view, part, 0, outputs)
        })
    }
}
