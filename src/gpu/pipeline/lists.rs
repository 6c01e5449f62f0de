//! What a block returns as lists: the largest weights of its last step, candidates, hits, and scores.

use super::Listing;
use crate::gpu::buffer::Binding;
use crate::gpu::kernels::common::{LIST_CAPACITY, top_of};
use crate::gpu::kernels::rows::write_rows::SourceRows;
use crate::gpu::kernels::rows::{compact_queries, query_levels};
use crate::gpu::kernels::sparse::{compare_listed, rank_hits, rank_top, settle_listed, solve_threshold};
use crate::gpu::operands::KernelRule;
use crate::gpu::patterns::Sides;
use crate::gpu::sweep::Over;
use crate::gpu::targets::{OwnedRows, SearchOutputs};
use crate::gpu::task::{ListOutputs, Outputs};
use crate::gpu::workspace::CandidateLists;

impl Listing<'_> {
    /// Lists of candidates of `queries`, and of their `top` largest scores: by bounds from keys in 8 bits where these
    /// serve, and for queries of which they rule out too little from the scores of all patterns.
    pub(super) fn list(&mut self, compared: &Binding, queries: &Binding, rule: KernelRule, top: Option<u32>) {
        let over = Over::List(rule, top);
        if !self.task.bounded() {
            return self.sweep(compared, queries, over);
        }
        let dependent = self.pass.data_dependent;
        self.bound(compared, queries, rule, top);
        let left = &self.task.operands.workspace.searched;
        self.unless_empty(left, true, |listing| listing.sweep(compared, left, over));
        self.pass.data_dependent = dependent;
    }

    /// The same by bounds alone. Queries whose lists overflow are left to the list of those that are searched.
    fn bound(&mut self, compared: &Binding, queries: &Binding, rule: KernelRule, top: Option<u32>) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let inputs = (compared, queries);
        self.one(query_levels::dispatch(&self.pass, inputs));
        let (_, selected) = top_of(rule);
        self.sweep(compared, queries, Over::Bound(rule, selected.max(top.unwrap_or(1)).max(1)));
        self.pass.data_dependent = true;
        self.rows_of(&workspace.candidates);
        for window in task.visited() {
            self.of_window(window, Sides::KEYS, compare_listed::scores(&self.pass, inputs, window));
        }
        self.one(settle_listed::dispatch(&self.pass, queries, rule, top.is_some()));
        let (chosen, rest) = (&workspace.listed, &workspace.searched);
        self.one(compact_queries::dispatch(&self.pass, Some(queries), settle_listed::OVERFLOW, chosen, rest));
    }

    /// The patterns of the `k` largest scores of the block's last step.
    pub(super) fn top(&mut self, outputs: &Outputs, k: u32) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        let everyone = &workspace.everyone;
        // The records of the weights stay; the tallies have been written.
        let (lists, records) = (&workspace.top, &workspace.tallies);
        self.one(solve_threshold::dispatch(&self.pass, everyone, lists, records, KernelRule::Top { k }, true));
        let compared = self.compared(everyone, &workspace.previous);
        self.rows_of(lists);
        for window in task.visited() {
            let dispatch = compare_listed::dispatch(&self.pass, (&compared, everyone), lists, k, window);
            self.of_window(window, Sides::KEYS, dispatch);
        }
        if let Some(ListOutputs { heads, entries, similarities, .. }) = &outputs.top {
            self.write_lists(lists, 2 * k, heads, entries);
            let (buffer, stride) = (&workspace.similarities, compare_listed::STRIDE);
            self.write(SourceRows { buffer, columns: k, first: 0, stride }, similarities);
        }
        if let Some(ranked) = &outputs.ranked {
            self.one(rank_top::dispatch(&self.pass, everyone, ranked));
        }
    }

    /// Lists of candidates of the queries as they are.
    pub(super) fn candidates(&mut self, rule: KernelRule, heads: &OwnedRows, entries: &OwnedRows) {
        let workspace = &self.task.operands.workspace;
        let compared = self.compared(&workspace.everyone, &workspace.state);
        self.sweep(&compared, &workspace.everyone, Over::List(rule, None));
        self.write_lists(&workspace.candidates, 2 * LIST_CAPACITY, heads, entries);
    }

    /// The nearest patterns of the queries as they are.
    pub(super) fn hits(&mut self, outputs: &SearchOutputs) {
        let (operands, workspace) = (&self.task.operands, &self.task.operands.workspace);
        let everyone = &workspace.everyone;
        let compared = self.compared(everyone, &workspace.state);
        let rule = KernelRule::Top { k: outputs.k };
        match outputs.least {
            None => self.list(&compared, everyone, rule, None),
            Some(least) => self.sweep(&compared, everyone, Over::Nearest(outputs.k, least)),
        }
        self.one(solve_threshold::dispatch(
            &self.pass,
            everyone,
            &workspace.candidates,
            &workspace.records,
            rule,
            true,
        ));
        self.one(rank_hits::dispatch(&self.pass, everyone, outputs, operands.stamp));
    }

    /// The scores of the queries as they are.
    pub(super) fn scores(&mut self) {
        let workspace = &self.task.operands.workspace;
        let compared = self.compared(&workspace.everyone, &workspace.state);
        self.sweep(&compared, &workspace.everyone, Over::Scores);
    }

    /// Writes the heads of the lists and the first `words` words of their entries.
    fn write_lists(&mut self, lists: &CandidateLists, words: u32, heads: &OwnedRows, entries: &OwnedRows) {
        self.write(SourceRows::padded(&lists.heads, 4), heads);
        let source = SourceRows { buffer: &lists.list, columns: words, first: 0, stride: 2 * LIST_CAPACITY };
        self.write(source, entries);
    }
}
