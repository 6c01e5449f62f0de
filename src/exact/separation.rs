//! Scores to weights: each separation solved for a row of scores that is held in full.

use crate::exact::entry::Entry;
use crate::exact::solved::Solved;
use crate::exact::unnormalized::Unnormalized;
use crate::exact::{entmax, softmax, topk};
use crate::rule::Separation;

/// Solves `separation` for all usable entries of a row, or for a subset that includes every entry that can have weight.
pub(crate) fn solve(separation: Separation, entries: &mut [Entry]) -> Solved {
    if entries.is_empty() {
        return Solved::Nothing;
    }
    match separation {
        Separation::Softmax => softmax::solve(entries, false),
        Separation::Softmax1 => softmax::solve(entries, true),
        Separation::Sparsemax => entmax::solve(entries, 2.0),
        Separation::Entmax { alpha } => entmax::solve(entries, f64::from(alpha)),
        Separation::TopK { k } => topk::solve(entries, k),
        Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
            Solved::Unnormalized { weigher: Unnormalized::plain(separation), of_self: 0.0 }
        }
    }
}

/// The weights of a row of entries whose indices are distinct.
pub(crate) fn weights(separation: Separation, row: &[Entry]) -> Vec<f64> {
    let solved = solve(separation, &mut row.to_vec());
    row.iter().map(|entry| solved.weight(*entry)).collect()
}

/// The alpha of a separation whose weights vanish at a distance from the largest score; `None` for the others.
pub(crate) fn alpha(separation: Separation) -> Option<f64> {
    match separation {
        Separation::Sparsemax => Some(2.0),
        Separation::Entmax { alpha } => Some(f64::from(alpha)),
        _ => None,
    }
}

/// Drops the patterns that cannot have weight beside the others: for sparsemax and entmax, those further than
/// `1/(alpha-1)` below the largest score; for top-k, all but the `k` best, ties by index, which are left in that order.
/// Softmax and softmax1 give every pattern weight.
pub(crate) fn prune<T>(separation: Separation, patterns: &mut Vec<T>, entry: impl Fn(&T) -> (f64, u64)) {
    if let Separation::TopK { k } = separation {
        patterns.sort_by(|a, b| {
            let (a, b) = (entry(a), entry(b));
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
        });
        patterns.truncate(k);
    } else if let Some(alpha) = alpha(separation) {
        let largest = patterns.iter().fold(f64::NEG_INFINITY, |largest, pattern| largest.max(entry(pattern).0));
        patterns.retain(|pattern| (alpha - 1.0) * (largest - entry(pattern).0) <= 1.0);
    }
}
