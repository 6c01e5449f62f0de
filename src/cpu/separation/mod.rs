//! Scores to weights over all patterns: softmax and weights that are not normalised folded during a scan, and every
//! separation by exact passes.

pub(crate) mod entmax;
pub(crate) mod softmax;
pub(crate) mod streaming;
pub(crate) mod topk;
pub(crate) mod unnormalized;
