//! The registry of kernels. A kernel is one host file here and one shader of the same path in `shaders/`; it is
//! registered by its `mod` line and its line in [`KERNELS`].

use super::kernel::Kernel;

pub mod common;

/// Queries in, answers out, and lists of queries.
pub mod rows {
    pub mod bind_vectors;
    pub mod compact_queries;
    pub mod copy_states;
    pub mod find_cycles;
    pub mod load_queries;
    pub mod query_levels;
    pub mod write_rows;
}

/// Weights that no threshold decides, in one pass over a split of the patterns.
pub mod fused {
    pub mod common;
    pub mod matrix;
    pub mod register;
    pub mod stream;
}

/// Each stage of an update on its own, over a chunk of scores.
pub mod staged {
    pub mod advance_states;
    pub mod merge;
    pub mod projection;
    pub mod separation;
    pub mod similarity;
    pub mod stream_bounds;
    pub mod stream_similarity;
    pub mod update_states;
    pub mod weights;
}

/// Candidates and thresholds of sparse rules and top-k.
pub mod sparse {
    pub mod bracket_threshold;
    pub mod compare_listed;
    pub mod count_scores;
    pub mod filter_candidates;
    pub mod gather_support;
    pub mod merge_candidates;
    pub mod rank_hits;
    pub mod rank_top;
    pub mod settle_listed;
    pub mod solve_threshold;
}

/// Every kernel, in the order of the data flow.
pub const KERNELS: &[&Kernel] = &[
    &rows::load_queries::KERNEL,
    &rows::compact_queries::KERNEL,
    &rows::copy_states::KERNEL,
    &rows::bind_vectors::KERNEL,
    &rows::query_levels::KERNEL,
    &fused::stream::KERNEL,
    &fused::register::KERNEL,
    &fused::matrix::KERNEL,
    &staged::similarity::KERNEL,
    &staged::stream_similarity::KERNEL,
    &staged::stream_bounds::KERNEL,
    &staged::separation::KERNEL,
    &sparse::filter_candidates::KERNEL,
    &sparse::merge_candidates::KERNEL,
    &sparse::settle_listed::KERNEL,
    &sparse::count_scores::KERNEL,
    &sparse::solve_threshold::KERNEL,
    &sparse::rank_hits::KERNEL,
    &sparse::bracket_threshold::KERNEL,
    &sparse::compare_listed::KERNEL,
    &sparse::rank_top::KERNEL,
    &staged::weights::KERNEL,
    &sparse::gather_support::KERNEL,
    &staged::projection::KERNEL,
    &staged::merge::KERNEL,
    &staged::update_states::KERNEL,
    &staged::advance_states::KERNEL,
    &rows::find_cycles::KERNEL,
    &rows::write_rows::KERNEL,
];
