//! A pass over the patterns, chunk by chunk: what it dispatches for each.

use std::collections::VecDeque;

use super::buffer::Binding;
use super::dispatch::Dispatch;
use super::kernels::common::{Pass, summed_rows};
use super::kernels::fused::common::ends_running;
use super::kernels::fused::{matrix, register, stream};
use super::kernels::rows::write_rows::{self, SourceRows};
use super::kernels::sparse::{count_scores, filter_candidates, merge_candidates};
use super::kernels::staged::similarity::{Comparison, Trial};
use super::kernels::staged::{merge, projection, separation, similarity, stream_bounds, stream_similarity, weights};
use super::operands::{Chunk, KernelRule, QueryBlock, Sums};
use super::patterns::Sides;
use super::plan::choice::Plan;
use super::targets::OwnedRows;
use super::task::{Goal, Task};
use crate::strategy::Strategy;

/// A pass over the patterns, chunk by chunk.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    pub block: QueryBlock,
    pub data_dependent: bool,
    /// The update that it is part of.
    pub step: u32,
    /// What is compared with the keys.
    pub compared: Binding,
    pub queries: Binding,
    pub over: Over,
}

/// What is done with each chunk.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// Weights that no threshold decides, with every stage fused, into the running state.
    Fused(Sums),
    /// The same stage by stage, into the running state; and so many of the largest scores into their lists.
    Staged(Sums, Option<u32>),
    /// Candidates of a rule, into lists; and so many of the largest scores into theirs.
    List(KernelRule, Option<u32>),
    /// Patterns that bounds do not rule out among the candidates of a rule and so many of the largest scores, into
    /// lists.
    Bound(KernelRule, u32),
    /// So many of the largest scores, into lists.
    Top(u32),
    /// So many of the largest scores, into the lists of candidates; and how many are at least a threshold.
    Nearest(u32, f32),
    /// Trial thresholds.
    Try(KernelRule, Trial),
    /// Weights by the records, summed into the running state.
    Project(KernelRule, Sums),
    /// Weights by the records, tallied.
    Weigh(KernelRule),
    /// The same, and those that are asked for are written out.
    WriteWeights(KernelRule),
    /// Scores, written out.
    Scores,
}

impl Sweep {
    /// The plan whose chunks it goes through.
    pub fn plan<'t>(&self, task: &'t Task) -> &'t Plan {
        match self.over {
            Over::Fused(_) => &task.plan,
            Over::Try(..) => &task.searching,
            _ => &task.staged,
        }
    }

    /// What its dispatches read of rows, and not only of what the device has beside them.
    pub fn sides(&self) -> Sides {
        let values = match self.over {
            Over::Fused(sums) | Over::Staged(sums, _) | Over::Project(_, sums) => sums.values > 0,
            _ => false,
        };
        Sides { keys: !matches!(self.over, Over::Bound(..)), values }
    }

    /// Lists the dispatches of one chunk.
    pub fn list(&self, task: &Task, chunk: &Chunk<'_>, list: &mut VecDeque<Dispatch>) {
        let Self { block, data_dependent, step, compared, queries, over } = self;
        let pass = Pass { operands: &task.operands, block: *block, data_dependent: *data_dependent, step: *step };
        let each = task.staged.queries_per_invocation;
        let stride = task.staged.score_stride();
        let comparison = Comparison { compared, queries, queries_per_invocation: each };
        let scores = || match task.streamed() {
            Some(at_once) => stream_similarity::dispatch(&pass, (compared, queries), at_once, stride, chunk),
            None => similarity::scores(&pass, comparison, stride, chunk),
        };
        let listed = |rule, lists, list: &mut VecDeque<Dispatch>| {
            let room = task.staged.room();
            let segments = filter_candidates::Segments { score_stride: stride, room };
            list.push_back(filter_candidates::dispatch(&pass, queries, lists, rule, segments, chunk));
            list.push_back(merge_candidates::dispatch(&pass, queries, lists, rule, room, chunk));
        };
        let largest = |top: Option<u32>, list: &mut VecDeque<Dispatch>| {
            if let Some(k) = top {
                listed(KernelRule::Top { k }, &task.operands.workspace.top, list);
            }
        };
        let projected = |sums: Sums| {
            summed_rows(chunk.rows, sums)
                .map(move |side| projection::dispatch(&pass, queries, (stride, each), side, sums, chunk))
        };
        match *over {
            Over::Fused(sums) => {
                let (inputs, plan) = ((compared, queries), &task.plan);
                list.push_back(match (plan.strategy, plan.matrix) {
                    (Strategy::FusedMatrix, Some(tile)) => matrix::dispatch(&pass, tile, inputs, sums, chunk),
                    (Strategy::FusedRegister, _) => register::dispatch(&pass, plan.register, inputs, sums, chunk),
                    _ => stream::dispatch(&pass, plan.stream.queries, inputs, sums, chunk),
                });
                if !ends_running(chunk, sums) {
                    list.push_back(merge::dispatch(&pass, queries, sums, chunk));
                }
            }
            Over::Staged(sums, top) => {
                list.push_back(scores());
                largest(top, list);
                list.push_back(separation::dispatch(&pass, queries, stride, chunk));
                list.extend(projected(sums));
                list.push_back(merge::dispatch(&pass, queries, sums, chunk));
            }
            Over::List(rule, top) => {
                list.push_back(scores());
                listed(rule, &task.operands.workspace.candidates, list);
                largest(top, list);
            }
            Over::Bound(rule, k) => {
                if let (Some(at_once), Some(rows)) = (task.streamed(), &chunk.rows.levels) {
                    list.push_back(stream_bounds::dispatch(&pass, queries, at_once, stride, (rows, chunk)));
                }
                largest(Some(k), list);
                let room = task.staged.room();
                let segments = filter_candidates::Segments { score_stride: stride, room };
                list.push_back(filter_candidates::reaching(&pass, queries, rule, segments, chunk));
                list.push_back(merge_candidates::reaching(&pass, queries, rule, room, chunk));
            }
            Over::Top(k) => {
                list.push_back(scores());
                largest(Some(k), list);
            }
            Over::Nearest(k, least) => {
                list.push_back(scores());
                listed(KernelRule::Top { k }, &task.operands.workspace.candidates, list);
                list.push_back(count_scores::dispatch(&pass, queries, least, stride, chunk));
            }
            Over::Try(rule, trial) => {
                let splits = task.searching.splits;
                list.push_back(similarity::trials(&pass, comparison, rule, trial, splits, chunk));
            }
            Over::Project(rule, sums) => {
                list.push_back(scores());
                list.push_back(weights::dispatch(&pass, queries, rule, stride, chunk));
                list.extend(projected(sums));
                list.push_back(merge::dispatch(&pass, queries, sums, chunk));
            }
            Over::Weigh(rule) | Over::WriteWeights(rule) => {
                list.push_back(scores());
                list.push_back(weights::dispatch(&pass, queries, rule, stride, chunk));
                if let (Over::WriteWeights(_), Goal::Answers(outputs)) = (over, &task.goal) {
                    write_weights(&pass, &outputs.weights, stride, chunk, list);
                }
            }
            Over::Scores => {
                list.push_back(scores());
                if let Goal::Scores { target, .. } = &task.goal {
                    let at = (chunk.window_first + chunk.first_row) as usize - task.range.start;
                    let offset = target.offset + 4 * at as u64;
                    let rows = OwnedRows { offset, stride: Some(task.range.len() as u32), ..target.clone() };
                    let buffer = &task.operands.workspace.scores;
                    let source = SourceRows { buffer, columns: chunk.count, first: 0, stride };
                    list.push_back(write_rows::dispatch(&pass, source, &rows));
                }
            }
        }
    }
}

/// Writes the weights of a chunk of those queries of the block that are among `runs`, which rise, into rows as wide as
/// the memory.
fn write_weights(
    pass: &Pass<'_>,
    runs: &[(u32, u32, OwnedRows)],
    stride: u32,
    chunk: &Chunk<'_>,
    list: &mut VecDeque<Dispatch>,
) {
    let (operands, block) = (pass.operands, pass.block);
    let before = runs.partition_point(|(first, count, _)| first + count <= block.first);
    let end = block.first + block.count;
    for (first, count, target) in runs[before..].iter().take_while(|(first, ..)| *first < end) {
        let from = block.first.max(*first);
        let to = end.min(first + count);
        let at = chunk.window_first + chunk.first_row;
        let rows = OwnedRows {
            buffer: target.buffer.clone(),
            offset: target.offset + 4 * u64::from(at),
            stride: Some(operands.problem.patterns as u32),
        };
        let first_word = (from - block.first) * stride;
        let source = SourceRows { buffer: &operands.workspace.scores, columns: chunk.count, first: first_word, stride };
        let part = Pass { block: QueryBlock { first: from - first, count: to - from }, ..*pass };
        // No list is read, so a part of the block is one of its own.
        list.push_back(Dispatch { queries: block.count, ..write_rows::dispatch(&part, source, &rows) });
    }
}
