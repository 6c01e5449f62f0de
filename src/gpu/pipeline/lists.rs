//! What a block returns as lists: the largest weights of its last step, candidates, hits, and scores.

use super::Listing;
use crate::gpu::kernels::common::LIST_CAPACITY;
use crate::gpu::kernels::rows::write_rows::SourceRows;
use crate::gpu::kernels::sparse::{compare_listed, rank_hits, rank_top, solve_threshold};
use crate::gpu::operands::KernelRule;
use crate::gpu::sweep::Over;
use crate::gpu::targets::{OwnedRows, SearchOutputs};
use crate::gpu::task::{ListOutputs, Outputs};
use crate::gpu::workspace::CandidateLists;

impl Listing<'_> {
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
            self.of_window(window, dispatch);
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
        self.sweep(&compared, everyone, Over::Nearest(outputs.k, outputs.least));
        let rule = KernelRule::Top { k: outputs.k };
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
