//! Softmax over the `k` most preferred entries, by selection.

use crate::exact::entry::{Entry, preferred};
use crate::exact::softmax;
use crate::exact::solved::Solved;

/// Solves a row of at least one entry; leaves the `k` most preferred first.
pub(crate) fn solve(entries: &mut [Entry], k: usize) -> Solved {
    let k = k.min(entries.len());
    let (before, last, _) = entries.select_nth_unstable_by(k - 1, preferred);
    let last = *last;
    // Summed in one order, whatever order the selection left.
    before.sort_unstable_by(preferred);
    match softmax::solve(&entries[..k], false) {
        Solved::Softmax { max, sum, .. } => Solved::TopK { last, max, sum },
        other => other,
    }
}

/// An integer that orders as the score does, so that a score can be found digit by digit.
pub(crate) fn ordered(score: f64) -> u64 {
    let bits = score.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The score of an [`ordered`] integer.
pub(crate) fn score(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_the_smaller_index() {
        let mut entries = [(1.0, 4), (1.0, 2), (0.0, 0), (1.0, 3)];
        let solved = solve(&mut entries, 2);
        assert_eq!([0, 2, 3, 4].map(|i| solved.weight((if i == 0 { 0.0 } else { 1.0 }, i))), [0.0, 0.5, 0.5, 0.0]);
        assert_eq!(solve(&mut entries, 9).weight((1.0, 4)), 1.0 / (3.0 + (-1.0f64).exp()));
    }

    #[test]
    fn ordered_numbers_order_as_scores_do() {
        let rising = [-1e300, -2.0, -1e-300, 0.0, 1e-300, 1.0, 1e300];
        assert!(rising.is_sorted_by_key(|z| ordered(*z)));
        assert!(rising.iter().all(|z| score(ordered(*z)) == *z));
    }
}
