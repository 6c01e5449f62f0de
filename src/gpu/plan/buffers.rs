//! The workspace that a plan needs.

use super::choice::Plan;
use super::problem::Problem;
use crate::gpu::kernels::common::LIST_CAPACITY;
use crate::gpu::kernels::sparse::{compare_listed, filter_candidates};
use crate::gpu::kernels::staged::similarity;
use crate::gpu::workspace::Sizes;
use crate::strategy::Overrides;
use crate::tuning::Tuning;

impl Plan {
    /// The buffers that this plan, and where more is reported than a fused kernel does, `staged`, need for `problem`.
    pub fn sizes(&self, staged: &Self, problem: &Problem) -> Sizes {
        let block = u64::from(self.query_block);
        let columns = u64::from(problem.columns());
        let key_rows = block * 16 * u64::from(problem.key_vectors);
        let staged_splits = if problem.lists { staged.splits } else { 0 };
        let staged_stride = if problem.lists { staged.score_stride() } else { 0 };
        let partials = block * u64::from(self.splits.max(staged_splits));
        let lists = u64::from(problem.lists) * block;
        let bounded = u64::from(problem.bounded && staged.streamed.is_some()) * block;
        let top = (u64::from(problem.top) * block).max(bounded);
        let scored = (u64::from(problem.top) * block * u64::from(compare_listed::STRIDE))
            .max(bounded * u64::from(LIST_CAPACITY));
        let spans = u64::from(staged.chunk().div_ceil(filter_candidates::SPAN));
        Sizes {
            state: key_rows,
            result: u64::from(problem.result) * block * 16 * u64::from(problem.value_vectors.max(problem.key_vectors)),
            flags: block * 4,
            scores: block * 4 * u64::from(self.score_stride().max(staged_stride)),
            stats: partials * 8,
            sums: partials * 16 * columns,
            running_stats: block * 16,
            running_sums: block * 16 * columns,
            report: block * 16,
            compared: u64::from(problem.compared) * key_rows,
            previous: u64::from(problem.previous) * key_rows,
            saved: u64::from(problem.saved) * key_rows,
            queries: 4 * (1 + block),
            heads: lists * 16,
            list: lists * 8 * u64::from(LIST_CAPACITY),
            top_heads: top * 16,
            top_list: top * 8 * u64::from(LIST_CAPACITY),
            segments: lists * spans * 8 * u64::from(staged.room()),
            picked: lists * spans * 16,
            brackets: lists * 16,
            given: lists * staged.searched_splits() * 4 * u64::from(similarity::TRIAL_WORDS),
            records: lists * 32,
            tallies: lists * 32,
            similarities: 4 * scored,
            levels: bounded * 8 * u64::from(problem.key_vectors),
            level_numbers: bounded * 16,
            uppers: bounded * 4 * u64::from(staged_stride),
        }
    }

    /// Bytes of the workspace: everything besides patterns, queries and outputs.
    pub fn workspace_bytes(&self, problem: &Problem, tuning: &Tuning) -> u64 {
        self.sizes(&self.staged(problem, tuning, &Overrides::default()), problem).total()
    }
}
