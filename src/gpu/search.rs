//! Searches: the lists of the largest scores, in order, with positions and similarities.

use std::ops::Range;
use std::sync::Arc;

use super::batch::MAX_SUB_BATCH_BYTES;
use super::buffer;
use super::engine::Engine;
use super::kernels::sparse::rank_hits::{NO_HIT, REPORT_WORDS};
use super::kernels::staged::update_states::{NOT_FINITE, NOTHING_LEFT, OUT_OF_RANGE};
use super::plan::problem::Problem;
use super::planning::Sizing;
use super::readback::{Readback, Submitted, Wait};
use super::schedule::Schedule;
use super::targets::{OwnedRows, SearchOutputs, SearchTargets};
use super::task::{Goal, Task};
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Status;
use crate::room::numbers;
use crate::search::options::search_rule;
use crate::search::{Hits, SearchOptions};
use crate::store::{Snapshot, View};

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
            let [mark, found, hits, status] = *report;
            if mark != stamp || hits as usize > self.k {
                let message = format!(
                    "query {query} carries stamp {mark:#x} instead of {stamp:#x}: its commands did not complete"
                );
                return Err(Error::Internal { operation: "search", message });
            }
            let row = query * self.k..query * self.k + hits as usize;
            let hits = positions[row.clone()].iter().zip(&similarity[row]);
            let hits = hits.filter(|(position, _)| **position != NO_HIT);
            let hits = hits.map(|(position, similarity)| (*position as usize, f32::from_bits(*similarity)));
            to.push(hits, found.into(), status_of(status), &view.names);
        }
        Ok(())
    }
}

/// The status in a report.
fn status_of(bits: u32) -> Status {
    match bits {
        bits if bits & NOT_FINITE != 0 => Status::NotFinite,
        bits if bits & OUT_OF_RANGE != 0 => Status::OutOfRange,
        bits if bits & NOTHING_LEFT != 0 => Status::NothingLeft,
        _ => Status::Answered,
    }
}

impl Engine {
    /// This engine with scores that are similarities.
    fn searching(&self, k: usize) -> Self {
        Self { rule: search_rule(self.rule, k), biased: false, ..self.frozen() }
    }

    /// The sizes of a search of `batch` queries, on an engine of [`Engine::searching`].
    fn search_sizing(&self, batch: usize, options: &RetrieveOptions) -> Sizing {
        let shape = self.shape_of(self.rule, self.windows.len() as u64, batch, options);
        // Lists of every pattern are lists, too, and nothing is summed.
        self.sizing(Problem { fused: false, lists: true, result: false, ..shape }, options)
    }

    /// Submits a search for the rows of `queries`, which have been validated but for their range.
    pub fn search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
        wait: Wait,
    ) -> Result<Answer<Hits>> {
        let (dim, context) = (self.layout.dim, &self.context);
        let (batch, k) = (queries.len() / dim, options.top.min(self.windows.len()));
        let mut hits = Hits::with_room(operation, batch, k, options.bound.is_some())?;
        let similarity = self.rule.similarity;
        let (least, factor) = (options.least_score(similarity), similarity.measure_factor());
        let (engine, options) = (self.searching(k), options.as_retrieval());
        engine.check_range(operation, queries, &options, view.alive())?;
        if batch == 0 {
            return Ok(Answer::ready(hits));
        }
        let sizing = engine.search_sizing(options.plan_for.unwrap_or(batch), &options);
        let workspace = match options.faults.poison {
            false => engine.workspace(&sizing)?,
            true => Arc::new(Workspace::new(context, sizing.sizes, true)?),
        };
        let mut submitted: Vec<(Readback, HitsLayout, u32)> = Vec::new();
        for part in engine.search_parts(batch, k, &sizing, &options) {
            let layout = HitsLayout::new(part.len(), k);
            let source = context
                .upload("attractor.queries", bytemuck::cast_slice(&queries[part.start * dim..part.end * dim]))?;
            let (target, staging) = context.answer_buffers(layout.size)?;
            let outputs = SearchOutputs {
                count: part.len(),
                queries: OwnedRows::at(&source, 0),
                k: k as u32,
                places: k as u32,
                least,
                factor,
                positions: Some(OwnedRows::at(&target, 0)),
                similarity: Some(OwnedRows::at(&target, layout.similarity)),
                report: Some(OwnedRows::at(&target, layout.report)),
            };
            let (stamp, goal) = (context.next_stamp(), Goal::Hits(Box::new(outputs)));
            let task: Task = engine.task(&sizing, workspace.clone(), &options, view.alive(), part, stamp, goal)?;
            let schedule = Schedule::new(context, options.faults.constant, [task]);
            submitted.push((context.run(schedule, &target, staging, wait)?, layout, stamp));
        }
        engine.recycle(workspace);
        let submission = submitted.last().and_then(|(readback, ..)| readback.submission());
        let view = view.clone();
        let answer = async move {
            for (readback, layout, stamp) in submitted {
                layout.take(&mut hits, &readback.mapped().await?, stamp, &view)?;
            }
            Ok(hits)
        };
        Ok(Answer::on_device(Submitted { context: context.clone(), submission }, answer))
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
        let (count, places, kind) = (*count, options.top, self.rule.similarity);
        let engine = self.searching(places.min(self.windows.len()));
        let retrieval = options.as_retrieval();
        engine.check_range(operation, &[], &retrieval, view.alive())?;
        if count == 0 {
            return Ok(());
        }
        let report_words = REPORT_WORDS as usize;
        let rows = [
            ("queries", Some(*queries), self.layout.dim),
            ("positions", Some(*positions), places),
            ("similarity", *similarity, places),
            ("report", *report, report_words),
        ];
        self.check_rows(operation, count, &rows)?;
        let outputs = SearchOutputs {
            count,
            queries: (*queries).into(),
            k: places.min(self.windows.len()) as u32,
            places: places as u32,
            least: options.least_score(kind),
            factor: kind.measure_factor(),
            positions: Some((*positions).into()),
            similarity: similarity.map(OwnedRows::from),
            report: report.map(OwnedRows::from),
        };
        let sizing = engine.search_sizing(options.plan_for.unwrap_or(count), &retrieval);
        let spans = [
            (Some(&outputs.queries), self.layout.dim),
            (outputs.positions.as_ref(), places),
            (outputs.similarity.as_ref(), places),
            (outputs.report.as_ref(), report_words),
        ];
        self.check_row_spans(operation, count, &spans, &sizing)?;
        let workspace = self.recording_workspace(&sizing, options.faults.poison)?;
        let (stamp, goal) = (self.context.next_stamp(), Goal::Hits(Box::new(outputs)));
        let task = engine.task(&sizing, workspace, &retrieval, view.alive(), 0..count, stamp, goal)?;
        self.record_task(operation, encoder, task, &options.faults, timestamps.clone(), snapshot)
    }

    /// Compiles what a search of `batch` queries, at least one, would run.
    pub fn prepare_search(&self, batch: usize, options: &SearchOptions, view: &View) -> Result<()> {
        let (k, kind) = (options.top.min(self.windows.len()) as u32, self.rule.similarity);
        let (engine, retrieval) = (self.searching(k as usize), options.as_retrieval());
        let sizing = engine.search_sizing(options.plan_for.unwrap_or(batch), &retrieval);
        let workspace = engine.workspace(&sizing)?;
        let stand_in = buffer::create(&self.context, "attractor.answers", 16, buffer::STORAGE)?;
        let rows = || OwnedRows::at(&stand_in, 0);
        // One query block uses every kernel.
        let count = batch.min(sizing.plan.query_block as usize);
        let outputs = SearchOutputs {
            count,
            queries: rows(),
            k,
            places: k,
            least: options.least_score(kind),
            factor: kind.measure_factor(),
            positions: Some(rows()),
            similarity: Some(rows()),
            report: Some(rows()),
        };
        let goal = Goal::Hits(Box::new(outputs));
        let task = engine.task(&sizing, workspace.clone(), &retrieval, view.alive(), 0..count, 0, goal)?;
        let mut program = Schedule::new(&self.context, options.faults.constant, [task]);
        while !program.is_done() {
            drop(program.next(f64::INFINITY)?);
        }
        engine.recycle(workspace);
        Ok(())
    }

    /// Cuts a batch as [`Engine::sub_batches`] does.
    fn search_parts(
        &self,
        batch: usize,
        k: usize,
        sizing: &Sizing,
        options: &RetrieveOptions,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let mask = if options.mask.as_ref().is_some_and(Mask::is_per_query) { self.windows.len() / 8 } else { 0 };
        let bytes = HitsLayout::new(1, k).size.max(4 * self.layout.dim as u64).max(mask as u64);
        let fits = ((MAX_SUB_BATCH_BYTES / bytes) as usize).max(1);
        let block = sizing.plan.query_block as usize;
        let part = if fits > block { fits / block * block } else { fits };
        (0..batch).step_by(part).map(move |start| start..batch.min(start + part))
    }
}
