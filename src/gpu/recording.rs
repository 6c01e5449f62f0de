//! Retrievals that are recorded into a host's encoder.

use std::sync::Arc;

use super::answers::Answers;
use super::batch::{AnswerLayout, Collector};
use super::buffer;
use super::encode::encode;
use super::engine::Engine;
use super::kernels::staged::update_states;
use super::planning::Sizing;
use super::readback::{Readback, Submitted};
use super::schedule::Schedule;
use super::targets::{OwnedRows, RecordTargets, Rows, TopOutputs};
use super::task::{Goal, Outputs, Task};
use super::workspace::Workspace;
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::retrieval::top::MAX_TOP;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::{Snapshot, View};
use crate::strategy::Faults;
use crate::sync::lock;

/// The most dispatches that one call records into a caller's encoder.
const MAX_RECORDED_DISPATCHES: usize = 1 << 20;

impl Engine {
    /// Records a retrieval from and to buffers of the caller. `snapshot` lives until the commands have run or are
    /// dropped.
    pub fn record(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        targets: &RecordTargets<'_>,
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<()> {
        if targets.count == 0 {
            return Ok(());
        }
        let outputs = self.outputs(operation, targets)?;
        let options = &targets.options(operation, options)?;
        self.check_ranked(operation, &outputs, options)?;
        self.record_outputs(operation, encoder, outputs, options, targets.timestamps.clone(), view, snapshot)
            .map(|_| ())
    }

    /// The caller's buffers as outputs, once their usage, size and device have been checked.
    pub fn outputs(&self, operation: &'static str, recording: &RecordTargets<'_>) -> Result<Outputs> {
        let RecordTargets { count, queries, output, state, report, top, timestamps: _ } = recording;
        let (dim, output_dim) = (self.layout.dim, self.layout.output_dim());
        let k = top.map_or(0, |top| top.k);
        if top.is_some() && !(1..=MAX_TOP).contains(&k) {
            let (expected, got) = ("at least 1 and at most 1024", k.to_string());
            return Err(Error::Parameter { operation, parameter: "top", expected, got });
        }
        let all = [
            ("queries", Some(*queries), dim),
            ("output", Some(*output), output_dim),
            ("state", *state, dim),
            ("report", *report, update_states::REPORT_WORDS as usize),
            ("top positions", top.map(|top| top.positions), k),
            ("top weights", top.and_then(|top| top.weights), k),
            ("top similarity", top.and_then(|top| top.similarity), k),
        ];
        self.check_rows(operation, *count, &all)?;
        Ok(Outputs {
            count: *count,
            queries: (*queries).into(),
            output: (*output).into(),
            state: state.map(OwnedRows::from),
            report: report.map(OwnedRows::from),
            weighed: None,
            energy: None,
            trace: Vec::new(),
            top: None,
            ranked: top.map(|top| TopOutputs {
                k: top.k.min(self.windows.len()) as u32,
                places: top.k as u32,
                positions: Some(top.positions.into()),
                weights: top.weights.map(OwnedRows::from),
                similarity: top.similarity.map(OwnedRows::from),
            }),
            weights: Vec::new(),
        })
    }

    /// Refuses weights in buffers of the caller where they depend on more of a query than its scores.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn check_ranked(&self, operation: &'static str, outputs: &Outputs, options: &RetrieveOptions) -> Result<()> {
        let weights = outputs.ranked.as_ref().is_some_and(|ranked| ranked.weights.is_some());
        let update = &self.rule.update;
        let varies = options.per_query.betas.is_some() || update.schedule.is_some() && options.stops_early();
        if weights && varies && update.remove_self && !self.rule.separation.is_normalized() {
            let what = "weights without self-couplings in buffers of the caller's, where queries differ in beta,";
            return Err(Error::Unsupported { operation, what: what.into() });
        }
        Ok(())
    }

    /// Refuses buffers of the caller, each with a name and the columns of its rows, that do not serve.
    pub fn check_rows(
        &self,
        operation: &'static str,
        count: usize,
        all: &[(&'static str, Option<Rows<'_>>, usize)],
    ) -> Result<()> {
        for (what, rows, columns) in all {
            if let Some(rows) = rows {
                rows.check(operation, what, count, *columns)?;
            }
        }
        for (i, (what, rows, _)) in all.iter().enumerate() {
            let Some(rows) = rows else { continue };
            let seen = |(_, other, _): &(_, Option<Rows<'_>>, _)| other.is_some_and(|o| o.buffer == rows.buffer);
            if !all[..i].iter().any(seen) {
                buffer::check_owner(&self.context, operation, what, rows.buffer)?;
            }
        }
        Ok(())
    }

    /// Refuses rows of `outputs` so far apart that no binding spans those of a query block.
    pub fn check_spans(&self, operation: &'static str, outputs: &Outputs, sizing: &Sizing) -> Result<()> {
        let (dim, output_dim) = (self.layout.dim, self.layout.output_dim());
        let ranked = outputs.ranked.as_ref();
        let k = ranked.map_or(0, |ranked| ranked.places as usize);
        let all = [
            (Some(&outputs.queries), dim),
            (Some(&outputs.output), output_dim),
            (outputs.state.as_ref(), dim),
            (outputs.report.as_ref(), update_states::REPORT_WORDS as usize),
            (ranked.and_then(|ranked| ranked.positions.as_ref()), k),
            (ranked.and_then(|ranked| ranked.weights.as_ref()), k),
            (ranked.and_then(|ranked| ranked.similarity.as_ref()), k),
        ];
        self.check_row_spans(operation, outputs.count, &all, sizing)
    }

    /// [`Engine::check_spans`] of rows with their columns.
    pub fn check_row_spans(
        &self,
        operation: &'static str,
        count: usize,
        all: &[(Option<&OwnedRows>, usize)],
        sizing: &Sizing,
    ) -> Result<()> {
        let limits = &self.context.limits;
        let allowed = limits.max_storage_buffer_binding_size;
        let between = (count.min(sizing.plan.query_block as usize) as u64).saturating_sub(1);
        for (place, columns) in all {
            let Some(place) = place else { continue };
            let words = between.saturating_mul(place.stride(*columns)).saturating_add(*columns as u64);
            // A binding may have to start before its first row, at a multiple of the device's alignment.
            let need = words.saturating_mul(4).saturating_add(limits.min_storage_buffer_offset_alignment.into());
            if need > allowed {
                let limit = "max_storage_buffer_binding_size, for rows of one block";
                return Err(Error::Limit { operation, limit, need, allowed });
            }
        }
        Ok(())
    }

    /// Records a retrieval for `count` queries in a buffer of the caller, and the read-back of the answers, which
    /// completes once the caller has submitted the encoder.
    #[expect(clippy::too_many_arguments, reason = "what a recording is made of")]
    pub fn record_readback(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        count: usize,
        queries: Rows<'_>,
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<Answer<Retrieval>> {
        let facts = self.facts(view.alive());
        if count > 0 {
            queries.check(operation, "queries", count, self.layout.dim)?;
            buffer::check_owner(&self.context, operation, "queries", queries.buffer)?;
            Self::check_steps(operation, options)?;
        }
        let mut collector = Collector::new(operation, &facts, view, count, options)?;
        if count == 0 {
            return Ok(Answer::ready(collector.finish()));
        }
        let (positions, places): (Vec<usize>, Vec<usize>) =
            WeightQueries::new(operation, &options.weights)?.of(0..count).unzip();
        let answers = Answers::new(facts, options, 0..count, &positions);
        let (target, staging) = self.context.answer_buffers(answers.size)?;
        let outputs = answers.outputs(&target, queries.into());
        let stamp = self.record_outputs(operation, encoder, outputs, options, None, view, snapshot)?;
        encoder.copy_buffer_to_buffer(&target, 0, &staging, 0, staging.size());
        let readback = Readback::on_submit(self.context.clone(), staging, encoder);
        let layout = AnswerLayout { stamp, answers, places };
        let answer = async move {
            collector.append(&layout, &readback.mapped().await?)?;
            Ok(collector.finish())
        };
        let device = Submitted { context: self.context.clone(), submission: None };
        Ok(Answer::on_device(device, answer))
    }

    /// Records a retrieval to `outputs`, and returns the stamp that the answers will carry.
    #[expect(clippy::too_many_arguments, reason = "what a recording is made of")]
    fn record_outputs(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        outputs: Outputs,
        options: &RetrieveOptions,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<u32> {
        Self::check_steps(operation, options)?;
        let (count, stamp) = (outputs.count, self.context.next_stamp());
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(count), options), options);
        self.check_spans(operation, &outputs, &sizing)?;
        let workspace = self.recording_workspace(&sizing, options.faults.poison)?;
        let goal = Goal::Answers(Box::new(outputs));
        let task = self.task(&sizing, workspace, options, view, 0..count, stamp, goal)?;
        self.record_tasks(operation, encoder, [task], &options.faults, timestamps, vec![snapshot])?;
        Ok(stamp)
    }

    /// The workspace that recordings share, made anew where it is too small.
    pub fn recording_workspace(&self, sizing: &Sizing, poison: bool) -> Result<Arc<Workspace>> {
        let mut recorded = lock(&self.recording_workspace);
        Ok(match &*recorded {
            Some(workspace) if workspace.sizes.hold(&sizing.sizes) && !poison => workspace.clone(),
            _ => {
                let workspace = self.new_workspace(sizing, poison)?;
                recorded.insert(Arc::new(workspace)).clone()
            }
        })
    }

    /// Records tasks, one after the other. On an error the encoder is unchanged.
    pub fn record_tasks(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        tasks: impl IntoIterator<Item = Task, IntoIter: Send + Sync + 'static>,
        faults: &Faults,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
        snapshots: Vec<Snapshot>,
    ) -> Result<()> {
        // All dispatches are compiled before the first is recorded: an error leaves the encoder unchanged.
        let mut program = Schedule::new(&self.context, faults.constant, tasks);
        let mut calls = Vec::new();
        while !program.is_done() {
            calls.append(&mut program.next(f64::INFINITY)?);
            if calls.len() > MAX_RECORDED_DISPATCHES {
                let (need, allowed) = (calls.len() as u64, MAX_RECORDED_DISPATCHES as u64);
                return Err(Error::Limit { operation, limit: "dispatches in one encoder", need, allowed });
            }
        }
        let encode = || encode(&self.context, encoder, &calls, timestamps);
        buffer::scoped(&self.context, operation, encode)??;
        // The rows that the commands read must not be overwritten before they have run.
        encoder.on_submitted_work_done(move || drop(snapshots));
        Ok(())
    }
}
