//! What a retrieval does, in order. Start here to see how a query becomes dispatches.
//!
//! A [`Task`] answers a batch in blocks of queries. A block goes through [`Phase`]s: its queries are loaded, updated
//! step by step, and answered. Each phase lists [`Item`]s: single dispatches, and [`Sweep`]s over the patterns, which
//! list the dispatches of one chunk of patterns at a time. [`Dispatches`](walk::Dispatches) walks all of it as one
//! iterator of dispatches that holds no more for a larger memory.
//!
//! Nothing here depends on what the device computes: which queries go on and which thresholds need a search is decided
//! inside kernels, by lists of queries. So a retrieval is the same dispatches whether it is run, recorded or counted.
//! Only where rows stream does the host read such lists back, and skip what one that is empty makes idle.

mod lists;
mod network;
pub(super) mod walk;

use std::collections::VecDeque;

use super::buffer::Binding;
use super::dispatch::Dispatch;
use super::kernels::common::{Pass, summed_rows};
use super::kernels::rows::find_cycles::{self, Compared};
use super::kernels::rows::write_rows::{self, SourceRows};
use super::kernels::rows::{compact_queries, copy_states, load_queries};
use super::kernels::sparse::{bracket_threshold, gather_support, solve_threshold};
use super::kernels::staged::advance_states::{self, Ending};
use super::kernels::staged::similarity::{STEPS, Trial};
use super::kernels::staged::{merge, update_states};
use super::operands::{KernelRule, QueryBlock, Sums};
use super::patterns::{Sides, StoredRows};
use super::sweep::{Over, Sweep};
use super::targets::OwnedRows;
use super::task::{Goal, Outputs, Task, WeightOutputs};
use super::workspace::CandidateLists;
use crate::rule::{Next, Similarity};
use crate::store::Window;
use crate::strategy::Strategy;

/// Passes of the search over all patterns: each divides the bracket by one more than the trials. For entmax the bracket
/// is at most 88 wide (logarithms of an `f32`) and ends below 1e-7; for top-k it holds all keys and ends with one.
const ENTMAX_PASSES: u32 = 10;
const TOP_PASSES: u32 = 12;

/// What is done with one block of queries.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Its queries become states.
    Load,
    /// Update number so and so, from 1.
    Step(u32),
    /// What is wanted is written out.
    Answer,
}

/// One dispatch; one that reads those rows of a window that the lists before it name; a pass over the patterns; or the
/// bounds of what a list of queries that is empty lets the host skip.
#[derive(Debug)]
enum Item {
    One(Dispatch),
    OfWindow(Box<Window<StoredRows>>, Sides, Dispatch),
    Lists(CandidateLists, u32),
    Sweep(Sweep),
    Unless { list: Binding, rare: bool },
    End,
}

/// The items of one phase as they are listed.
struct Listing<'a> {
    task: &'a Task,
    pass: Pass<'a>,
    items: &'a mut VecDeque<Item>,
}

/// The phases of all blocks of a task, in order.
fn phases(task: &Task) -> impl Iterator<Item = (QueryBlock, Phase)> + use<> {
    let (count, steps) = match &task.goal {
        Goal::Answers(outputs) => (outputs.count, task.max_steps),
        Goal::Candidates { count, .. } | Goal::Scores { count, .. } => (*count, 0),
        Goal::Hits(outputs) => (outputs.count, 0),
        Goal::Network(goal) => (goal.count, 0),
    };
    let (count, most) = (count as u32, task.plan.query_block);
    (0..count).step_by(most as usize).flat_map(move |first| {
        let block = QueryBlock { first, count: most.min(count - first) };
        let steps = (1..=steps).map(Phase::Step);
        std::iter::once(Phase::Load).chain(steps).chain([Phase::Answer]).map(move |phase| (block, phase))
    })
}

impl<'a> Listing<'a> {
    /// Lists what `phase` does with `block`.
    fn of(task: &'a Task, block: QueryBlock, phase: Phase, items: &'a mut VecDeque<Item>) {
        let step = if let Phase::Step(step) = phase { step } else { 1 };
        let pass = Pass { operands: &task.operands, block, data_dependent: false, step };
        let mut listing = Self { task, pass, items };
        match (&task.goal, phase) {
            (Goal::Answers(outputs), Phase::Load) => listing.load(&outputs.queries, true),
            (Goal::Candidates { queries, .. } | Goal::Scores { queries, .. }, Phase::Load) => {
                listing.load(queries, false);
            }
            (Goal::Hits(outputs), Phase::Load) => listing.load(&outputs.queries, false),
            (Goal::Hits(outputs), Phase::Answer) => listing.hits(outputs),
            (Goal::Answers(outputs), Phase::Step(step)) => listing.step(outputs, step),
            (Goal::Answers(outputs), Phase::Answer) => listing.answers(outputs),
            (Goal::Candidates { rule, heads, entries, .. }, Phase::Answer) => {
                listing.candidates(*rule, heads, entries);
            }
            (Goal::Scores { .. }, Phase::Answer) => listing.scores(),
            (Goal::Network(goal), Phase::Answer) => listing.network(&goal.part),
            (Goal::Network(_), Phase::Load | Phase::Step(_))
            | (Goal::Candidates { .. } | Goal::Hits(_) | Goal::Scores { .. }, Phase::Step(_)) => {}
        }
    }

    fn one(&mut self, dispatch: Dispatch) {
        self.items.push_back(Item::One(dispatch));
    }

    /// Lists what `list` lists for the queries of `queries`, which the host skips if it has to load rows for it and the
    /// list is empty, as it is where that is `rare`.
    fn unless_empty(&mut self, queries: &Binding, rare: bool, list: impl FnOnce(&mut Self)) {
        let streams = self.task.streams();
        if streams {
            self.items.push_back(Item::Unless { list: queries.clone(), rare });
        }
        list(self);
        if streams {
            self.items.push_back(Item::End);
        }
    }

    /// What follows reads of each window the rows that `lists` name.
    fn rows_of(&mut self, lists: &CandidateLists) {
        if self.task.streams() {
            self.items.push_back(Item::Lists(lists.clone(), self.pass.block.count));
        }
    }

    fn of_window(&mut self, window: &Window<StoredRows>, sides: Sides, dispatch: Dispatch) {
        self.items.push_back(Item::OfWindow(Box::new(window.clone()), sides, dispatch));
    }

    fn sweep(&mut self, compared: &Binding, queries: &Binding, over: Over) {
        let Pass { block, data_dependent, step, .. } = self.pass;
        let (compared, queries) = (compared.clone(), queries.clone());
        self.items.push_back(Item::Sweep(Sweep { block, data_dependent, step, compared, queries, over }));
    }

    fn write(&mut self, source: SourceRows<'_>, target: &OwnedRows) {
        self.one(write_rows::dispatch(&self.pass, source, target));
    }

    /// The queries of the block become states, and all of them are listed; if they are updated, all are active, too.
    fn load(&mut self, queries: &OwnedRows, updates: bool) {
        let workspace = &self.task.operands.workspace;
        self.one(load_queries::dispatch(&self.pass, queries, false));
        self.one(compact_queries::dispatch(&self.pass, None, 0, &workspace.everyone, &workspace.searched));
        if updates {
            self.one(compact_queries::dispatch(&self.pass, None, 0, &workspace.active, &workspace.searched));
        }
    }

    /// One update of every query that goes on.
    fn step(&mut self, outputs: &Outputs, step: u32) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let operands = &task.operands;
        if let Some(weighed) = outputs.trace.get(step as usize - 1) {
            self.energy(weighed);
        }
        self.pass.data_dependent = operands.stops_early && step > 1;
        let active = &workspace.active;
        if step > 1 && operands.stops_early {
            let stopped = update_states::STOPPED;
            self.one(compact_queries::dispatch(&self.pass, None, stopped, active, &workspace.searched));
            return self.unless_empty(active, false, |listing| listing.advance(outputs, step));
        }
        self.advance(outputs, step);
    }

    /// The update of the active queries.
    fn advance(&mut self, outputs: &Outputs, step: u32) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let (operands, active) = (&task.operands, &workspace.active);
        if outputs.weighed.is_some() || outputs.top_count().is_some() || !outputs.weights.is_empty() {
            // Reports are of the last step, which started from these.
            self.one(copy_states::dispatch(&self.pass, active, &workspace.state, &workspace.previous, false));
        }
        // Under early stopping any step may be a query's last.
        let last = step == task.max_steps || operands.stops_early;
        let keys = step < task.max_steps
            || operands.problem.value_vectors == 0
            || outputs.state.is_some()
            || outputs.report.is_some()
            || outputs.energy.is_some()
            || !outputs.trace.is_empty();
        let goes_on = operands.rule.update.next;
        let sums = Sums {
            keys: if keys && goes_on == Next::Keys { operands.problem.key_vectors } else { 0 },
            values: if last || goes_on == Next::Values { operands.problem.value_vectors } else { 0 },
        };
        let compared = self.compared(active, &workspace.state);
        let reports = outputs.weighed.is_some() || outputs.ranked.is_some();
        self.recall(&compared, sums, step, (outputs.top_count(), reports));
    }

    /// The update of the active queries from what is compared with the keys; with lists of the largest scores, and
    /// records of how scores become weights, where they are reported.
    fn recall(&mut self, compared: &Binding, sums: Sums, step: u32, (top, reports): (Option<u32>, bool)) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let (active, rule) = (&workspace.active, task.kernel_rule());
        if rule.weighs_at_once() {
            let slot = match task.plan.strategy {
                Strategy::Staged => self.staged(compared, active, sums, top),
                Strategy::FusedStream | Strategy::FusedRegister | Strategy::FusedMatrix => {
                    self.sweep(compared, active, Over::Fused(sums));
                    // Fused kernels keep no scores.
                    if let Some(k) = top {
                        self.sweep(compared, active, Over::Top(k));
                    }
                    merge::slot(task.chunks(&task.plan))
                }
            };
            if reports {
                // Of weights that are not normalised, what was added up beside them.
                let rule = match rule {
                    KernelRule::Unnormalized { .. } => KernelRule::Softmax { one_more: false },
                    softmax => softmax,
                };
                self.bracket(active, rule, bracket_threshold::CLOSE, slot);
            }
            return self.update(active, sums, step, slot);
        }
        let mut searched = active;
        if task.listable(rule) {
            self.list(compared, active, rule, top);
            self.one(solve_threshold::dispatch(
                &self.pass,
                active,
                &workspace.candidates,
                &workspace.records,
                rule,
                false,
            ));
            self.pass.data_dependent = true;
            let unlisted = (update_states::SEARCH, &workspace.listed, &workspace.searched);
            self.one(compact_queries::dispatch(&self.pass, Some(active), unlisted.0, unlisted.1, unlisted.2));
            self.gather(&workspace.listed, sums);
            self.update(&workspace.listed, sums, step, 0);
            if let KernelRule::Top { .. } = rule {
                return;
            }
            searched = &workspace.searched;
        } else if let Some(k) = top {
            self.sweep(compared, active, Over::Top(k));
        }
        self.unless_empty(searched, true, |listing| {
            listing.search(compared, searched, rule);
            listing.sweep(compared, searched, Over::Project(rule, sums));
            let slot = merge::slot(task.chunks(&task.staged));
            if reports {
                listing.bracket(searched, rule, bracket_threshold::SUM, slot);
            }
            listing.update(searched, sums, step, slot);
        });
    }

    /// What is wanted of the block, after its last step.
    fn answers(&mut self, outputs: &Outputs) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let (layout, everyone) = (&task.operands.layout, &workspace.everyone);
        if let Some(weighed) = outputs.trace.get(task.max_steps as usize) {
            self.energy(weighed);
        }
        let output = if task.operands.problem.result { &workspace.result } else { &workspace.state };
        self.write(SourceRows::padded(output, layout.output_dim() as u32), &outputs.output);
        if let Some(state) = &outputs.state {
            self.write(SourceRows::padded(&workspace.state, layout.dim as u32), state);
        }
        if let Some(report) = &outputs.report {
            self.write(SourceRows::padded(&workspace.report, update_states::REPORT_WORDS), report);
        }
        if let Some(weighed) = &outputs.energy {
            self.energy(weighed);
        }
        if let Some(weighed) = &outputs.weighed {
            // What is told of weights is told of the last step.
            self.pass.step = task.max_steps;
            if weighed.tallies.is_some() {
                let compared = self.compared(everyone, &workspace.previous);
                if outputs.overwrites_records() {
                    self.resolve(&compared);
                }
                self.sweep(&compared, everyone, Over::WriteWeights(task.kernel_rule()));
            }
            self.write_weighed(weighed);
        }
        if let Some(k) = outputs.top_count() {
            self.top(outputs, k);
        }
    }

    /// What is compared with the keys, for `state`: itself, or a normalised copy.
    fn compared(&mut self, queries: &Binding, state: &Binding) -> Binding {
        if self.task.operands.rule.similarity != Similarity::Cosine {
            return state.clone();
        }
        let copy = &self.task.operands.workspace.compared;
        self.one(copy_states::dispatch(&self.pass, queries, state, copy, true));
        copy.clone()
    }

    /// Weights that no threshold decides, stage by stage; returns the slot of their statistics.
    fn staged(&mut self, compared: &Binding, queries: &Binding, sums: Sums, top: Option<u32>) -> u32 {
        self.sweep(compared, queries, Over::Staged(sums, top));
        merge::slot(self.task.chunks(&self.task.staged))
    }

    /// The end of an update.
    fn update(&mut self, queries: &Binding, sums: Sums, step: u32, slot: u32) {
        let (task, operands) = (self.task, &self.task.operands);
        self.one(match (operands.advances, &task.goal) {
            (false, _) => update_states::dispatch(&self.pass, queries, sums, slot),
            (true, Goal::Answers(outputs)) => {
                // Energies compare the last state with keys, too.
                let last = step == task.max_steps && !outputs.overwrites_records();
                let sweep = task.operands.rule.update.blocks;
                let (begins, ends) = ((step - 1).is_multiple_of(sweep), step.is_multiple_of(sweep));
                advance_states::dispatch(&self.pass, queries, sums, slot, Ending { last, begins, ends })
            }
            (true, goal) => match goal.network_update() {
                Some(update) => {
                    let ending = Ending { last: false, begins: update.first, ends: update.last };
                    advance_states::dispatch(&self.pass, queries, sums, slot, ending)
                }
                None => return,
            },
        });
        if operands.cycles {
            let (state, saved) = (&operands.workspace.state, &operands.workspace.saved);
            let compared = Compared { state, saved, is_first: true, is_last: true };
            self.one(find_cycles::dispatch(&self.pass, queries, compared, task.max_steps));
        }
    }

    /// Sums the rows of every query's support, window by window.
    fn gather(&mut self, queries: &Binding, sums: Sums) {
        self.rows_of(&self.task.operands.workspace.candidates);
        for (i, window) in self.task.visited().enumerate() {
            for side in summed_rows(&window.storage, sums) {
                let dispatch = gather_support::dispatch(&self.pass, queries, window, i == 0, side, sums);
                self.of_window(window, Sides { keys: sums.keys > 0, values: sums.values > 0 }, dispatch);
            }
        }
    }

    /// One stage of the search for `queries`.
    fn bracket(&mut self, queries: &Binding, rule: KernelRule, stage: u32, slot: u32) {
        let splits = self.task.searching.splits;
        self.one(bracket_threshold::dispatch(&self.pass, queries, rule, stage, slot, splits));
    }

    /// Searches the thresholds of `queries` over all patterns, pass by pass. Where no query needs it, every workgroup
    /// ends at once.
    fn search(&mut self, compared: &Binding, queries: &Binding, rule: KernelRule) {
        let steep = rule.is_steep();
        let passes = match rule {
            KernelRule::Top { .. } => TOP_PASSES,
            _ if steep => TOP_PASSES + ENTMAX_PASSES,
            _ => ENTMAX_PASSES,
        };
        debug_assert!(u64::from(STEPS + 1).pow(TOP_PASSES - 1) > u64::from(u32::MAX));
        self.bracket(queries, rule, bracket_threshold::OPEN, 0);
        for pass in 1..=passes {
            // A pivot is found as a key is.
            let pivot = steep && pass <= TOP_PASSES;
            let trial = match rule {
                KernelRule::Top { .. } => Trial::Count,
                _ if pivot => Trial::Pivot,
                _ => Trial::Sum,
            };
            self.sweep(compared, queries, Over::Try(rule, trial));
            let stage = match pass {
                _ if pass == passes => bracket_threshold::CLOSE,
                TOP_PASSES if pivot => bracket_threshold::TURN,
                _ if pivot => bracket_threshold::APPROACH,
                _ => bracket_threshold::NARROW,
            };
            self.bracket(queries, rule, stage, 0);
        }
    }

    /// Finds the record of every query of the block: how its scores become weights.
    fn resolve(&mut self, compared: &Binding) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let (everyone, rule) = (&workspace.everyone, task.kernel_rule());
        if let KernelRule::Unnormalized { .. } = rule {
            return;
        }
        if let KernelRule::Softmax { .. } = rule {
            let slot = self.staged(compared, everyone, Sums::NONE, None);
            return self.bracket(everyone, rule, bracket_threshold::CLOSE, slot);
        }
        let mut searched = everyone;
        if task.listable(rule) {
            self.sweep(compared, everyone, Over::List(rule, None));
            self.one(solve_threshold::dispatch(
                &self.pass,
                everyone,
                &workspace.candidates,
                &workspace.records,
                rule,
                false,
            ));
            if let KernelRule::Top { .. } = rule {
                return;
            }
            self.pass.data_dependent = true;
            let unlisted = (update_states::SEARCH, &workspace.listed, &workspace.searched);
            self.one(compact_queries::dispatch(&self.pass, Some(everyone), unlisted.0, unlisted.1, unlisted.2));
            searched = &workspace.searched;
        }
        self.unless_empty(searched, true, |listing| listing.search(compared, searched, rule));
    }

    /// What the energy at the present state is computed from.
    fn energy(&mut self, weighed: &WeightOutputs) {
        let workspace = &self.task.operands.workspace;
        let step = std::mem::replace(&mut self.pass.step, 1);
        let compared = self.compared(&workspace.everyone, &workspace.state);
        self.resolve(&compared);
        self.sweep(&compared, &workspace.everyone, Over::Weigh(self.task.kernel_rule()));
        self.write_weighed(weighed);
        self.pass.step = step;
    }

    fn write_weighed(&mut self, weighed: &WeightOutputs) {
        let (workspace, dim) = (&self.task.operands.workspace, self.task.operands.layout.dim);
        self.write(SourceRows::padded(&workspace.records, 8), &weighed.records);
        if let Some(tallies) = &weighed.tallies {
            self.write(SourceRows::padded(&workspace.tallies, 8), tallies);
        }
        if let Some(state) = &weighed.state {
            self.write(SourceRows::padded(&workspace.state, dim as u32), state);
        }
    }
}
