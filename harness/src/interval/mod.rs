//! Intervals in which the values of one update must lie, whatever the rounding of an `f32` implementation is.
//!
//! A score `z_i = beta s_i + b_i` may be off by
//!
//! ```text
//! e_i = u (d + 16) |beta| S_i  +  4 u (|beta s_i| + |b_i|),   u = 2^-24
//! ```
//!
//! (on a device that flushes numbers below the normal ones to zero, by the product of `|beta|` and what is flushed
//! more), where `S_i` sums the magnitudes of the terms of the similarity `s_i` (Higham, Accuracy and Stability, section
//! 3.1). A weight rises with its own score and falls with all others, under every separation. So it lies between the
//! weight for `z_i - e_i` beside `z_j + e_j`, and that for `z_i + e_i` beside `z_j - e_j`: no first order is needed,
//! ties and edges of supports included. For top-k, the patterns that may and those that must be among the k follow
//! from the same intervals; of equal rows the one of smaller index comes first. What stands between scores and
//! weights adds
//!
//! ```text
//! r_i = eps (32 + 3 |z_i - max z| + N / 2) relative to the weight,   eps = 2 u,
//! ```
//!
//! for an exponential as WGSL allows it (3 + 2 |argument| ulps), a power, and a sum of N. For entmax up to alpha = 2,
//! the score of a pattern may be off by another `16 eps (1 + |z_i - max z|)` from the subtraction of the threshold.
//!
//! An output is a sum of rows by weights in these intervals that add up to one (for softmax1 to at most one):
//! its least and its largest value are those of a linear program that takes the rows in order. The sum itself rounds by
//! `eps (16 + N / 2) sum_i p_i |v_ij|`, and what falls below the normal numbers may be flushed to zero.

mod bounds;
mod judge;
mod store;

pub use bounds::Expected;
pub use store::Store;

/// Half a unit in the last place.
const U: f64 = f32::EPSILON as f64 / 2.0;
const EPSILON: f64 = f32::EPSILON as f64;
/// The least normal number.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// A weight that is less than this share of the heaviest may be taken for zero: it is far below the rounding of any
/// sum of weights. (In the sum of rows, this is as much below the largest entry.)
const LOST: f64 = f64::EPSILON * 16.0;
