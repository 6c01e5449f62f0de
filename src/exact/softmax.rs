//! Softmax and softmax1 from a maximum and a sum of exponentials (Milakov and Gimelshein 2018).

use crate::exact::entry::Entry;
use crate::exact::solved::Solved;

/// How far below the largest score a weight is zero in `f32`: `ln 2^-150`.
pub(crate) const UNWEIGHED: f32 = -103.972_08;

/// How far below the largest of `patterns` scores an exponential can still change an `f64` sum: all exponentials
/// further below, together, are less than an eighth of its last place.
pub(crate) fn window(patterns: usize) -> f64 {
    39.0 + (patterns.max(1) as f64).ln()
}

/// `exp(before - max)`: the factor for sums relative to the maximum `before` when the maximum becomes `max`. It is 1
/// where both are `-inf`.
pub(crate) fn rescale(before: f64, max: f64) -> f64 {
    if before == max { 1.0 } else { (before - max).exp() }
}

/// Adds `exp(score - max)` to a running sum, raising the running maximum first.
pub(crate) fn accumulate((max, sum): &mut (f64, f64), score: f64) {
    if score > *max {
        *sum *= rescale(*max, score);
        *max = score;
    }
    *sum += (score - *max).exp();
}

/// The maximum and the sum of parts, each a maximum and a sum of its own.
pub(crate) fn join(parts: &[(f64, f64)]) -> (f64, f64) {
    let max = parts.iter().fold(f64::NEG_INFINITY, |max, part| max.max(part.0));
    (max, parts.iter().map(|(m, sum)| sum * rescale(*m, max)).sum())
}

/// Solves a row whose largest score is `max` and whose `exp(z - max)` sum to `sum`. Softmax1 (`plus_one`) has an
/// implicit score of zero, which takes part in the maximum and in the sum and belongs to no pattern.
pub(crate) fn from_sum(max: f64, sum: f64, plus_one: bool) -> Solved {
    if max == f64::NEG_INFINITY {
        return Solved::Nothing;
    }
    if !plus_one {
        return Solved::Softmax { max, sum, share: 1.0 / sum };
    }
    let high = max.max(0.0);
    let rescale = (max - high).exp();
    let sum = sum * rescale + (-high).exp();
    Solved::Softmax { max: high, sum, share: rescale / sum }
}

/// Solves a row of at least one entry.
pub(crate) fn solve(entries: &[Entry], plus_one: bool) -> Solved {
    let max = entries.iter().fold(f64::NEG_INFINITY, |max, entry| max.max(entry.0));
    from_sum(max, entries.iter().map(|entry| (entry.0 - max).exp()).sum(), plus_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax1_far_below_zero_weighs_nothing() {
        let solved = solve(&[(-1e30, 0)], true);
        assert_eq!(solved.weight((-1e30, 0)), 0.0);
        assert_eq!(solve(&[(1e30, 0)], true).weight((1e30, 0)), 1.0);
        assert!(from_sum(f64::NEG_INFINITY, 0.0, true).is_nothing());
    }
}
