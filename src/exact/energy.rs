//! The terms of the energy of a state (Ramsauer et al. 2021; Hu et al. 2023 and 2024; Santos et al. 2024) that depend
//! on the weights or on the number of patterns.

use crate::exact::entry::Entry;
use crate::exact::solved::Solved;
use crate::rule::{Rule, Separation};

/// The term of one entry in `<p, z> + H(p)` under entmax, `H(p) = sum (p - p^alpha) / (alpha (alpha-1))`.
pub(crate) fn entmax_term(solved: &Solved, alpha: f64, entry: Entry) -> f64 {
    let p = solved.weight(entry);
    if p > 0.0 { p * entry.0 + (p - p.powf(alpha)) / (alpha * (alpha - 1.0)) } else { 0.0 }
}

/// The constant `ln N / beta` under dot similarity, which depends on the separation, for `stored` patterns.
pub(crate) fn constant(rule: &Rule, stored: usize) -> f64 {
    let patterns = match rule.separation {
        Separation::Softmax => stored as f64,
        Separation::Softmax1 => stored as f64 + 1.0,
        _ => 1.0,
    };
    patterns.ln() / f64::from(rule.beta)
}
