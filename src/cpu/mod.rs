//! The native engine: `f32` vectors on every core. It serves the same API as the GPU engine, and shares no code with
//! the reference that judges both.
//!
//! Patterns are scanned tile by tile with `f32` products in the widest vectors of the processor. Softmax is folded
//! online. Rules that give weight to few patterns keep the candidates that the rounding of the scan cannot rule out,
//! score these again in `f64` and solve exactly. Whatever does not fit a bounded list is computed by further passes
//! over the patterns. So memory is bounded and nothing is truncated. Where keys are stored in 8 bits, too, candidates
//! come from bounds of the scores instead, which a scan of the 8-bit rows gives.

mod aligned;
mod answers;
mod background;
mod bounds;
mod candidates;
mod energy;
pub(crate) mod engine;
mod error_bound;
mod explain;
mod merge;
pub(crate) mod network;
mod pack;
mod partial;
mod parts;
mod peak;
mod plan;
mod product;
mod projection;
mod query_state;
mod report;
mod retrieve;
mod row_block;
mod rows;
mod scan;
mod search;
mod separation;
mod simd;
mod similarity;
mod softmax_step;
mod solve;
mod stages;
mod tiles;
mod transpose;
mod uninit;
mod update;
mod usable;
mod weigh;
mod weight_rows;

/// For the project's benches.
pub mod internals {
    pub use super::bounds::counts::rescored;
    pub use super::peak::{Reads, multiply_adds};
    pub use super::stages::Stages;
}
