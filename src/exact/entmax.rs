//! Entmax (sparsemax at `alpha = 2`): the threshold of a row of scores, in closed form or by Newton's method.

use crate::exact::entry::{Entry, preferred};
use crate::exact::solved::Solved;
use crate::exact::threshold::{Threshold, WeightSum};

/// `1/(alpha-1)`: no score this far below the largest has weight.
pub(crate) fn support_width(alpha: f64) -> f64 {
    1.0 / (alpha - 1.0)
}

/// Solves a row of at least one entry; leaves the entries in falling order of score.
pub(crate) fn solve(entries: &mut [Entry], alpha: f64) -> Solved {
    entries.sort_unstable_by(preferred);
    let (gain, max) = (alpha - 1.0, entries[0].0);
    // No score at a scaled distance of 1 or more below the maximum can have weight.
    let reach = entries.partition_point(|entry| gain * (max - entry.0) < 1.0).max(1);
    let entries = &entries[..reach];
    let distances = entries.iter().map(|entry| gain * (max - entry.0));
    let sums = |threshold: Threshold, entries: &[Entry]| {
        entries.iter().fold(WeightSum::default(), |mut sums, entry| {
            sums.add(&threshold.slope(entry.0));
            sums
        })
    };
    let threshold = if gain == 1.0 {
        Threshold::with_base(gain, max, linear(distances))
    } else if gain == 0.5 {
        Threshold::with_base(gain, max, quadratic(distances))
    } else if gain < 1.0 {
        from_largest(gain, max, reach, |threshold| sums(threshold, entries))
    } else {
        let support = entries.partition_point(|entry| sum_above(gain, entry.0, entries.iter()) < 1.0).max(1);
        let entries = &entries[..support];
        let smallest = entries[support - 1].0;
        let ties = entries.iter().rev().take_while(|entry| entry.0 == smallest).count();
        from_smallest(gain, smallest, ties, sum_above(gain, smallest, entries.iter()), |threshold| {
            sums(threshold, entries)
        })
    };
    Solved::Entmax { threshold, sum: entries.iter().map(|entry| threshold.weight(entry.0)).sum() }
}

/// The sum of the weights of the scores above `smallest` if `smallest` were the threshold. It falls as `smallest`
/// rises, and `smallest` has weight where it is below 1. The entries are in falling order.
fn sum_above<'e>(gain: f64, smallest: f64, entries: impl Iterator<Item = &'e Entry>) -> f64 {
    entries.take_while(|entry| entry.0 > smallest).map(|entry| above(gain, smallest, entry.0)).sum()
}

/// The weight of a score if `smallest` is the threshold.
pub(crate) fn above(gain: f64, smallest: f64, score: f64) -> f64 {
    if score > smallest { (gain * (score - smallest)).powf(1.0 / gain) } else { 0.0 }
}

/// `sum (s - u_i)_+ = 1` for rising `u` (Held et al. 1974; Martins and Astudillo 2016): the last `u` below the
/// threshold that it implies is the last of the support.
fn linear(rising: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut s) = (0.0, 1.0);
    for (i, u) in rising.enumerate() {
        if u >= s {
            break;
        }
        sum += u;
        s = (1.0 + sum) / (i + 1) as f64;
    }
    s
}

/// `sum (s - u_i)_+^2 = 1` for rising `u` (Peters et al. 2019): from the mean and the sum of squared deviations of the
/// support, updated as by Welford.
fn quadratic(rising: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut s) = (0.0f64, 0.0f64, 1.0f64);
    for (i, u) in rising.enumerate() {
        if u >= s {
            break;
        }
        let n = (i + 1) as f64;
        let delta = u - mean;
        mean += delta / n;
        squares += delta * (u - mean);
        s = mean + ((1.0 - squares) / n).max(0.0).sqrt();
    }
    s
}

/// The weight of the largest of `n` scores such that all weights sum to 1, for `gain < 1`: by Newton on the logarithms,
/// where the sum of equal scores is a straight line, kept within a bracket: a step that leaves the bracket, or that
/// gains too little, is replaced by its middle. Each evaluation may be a pass over all patterns.
pub(crate) fn from_largest(gain: f64, max: f64, n: usize, evaluate: impl Fn(Threshold) -> WeightSum) -> Threshold {
    let (mut low, mut high) = (-(n.max(1) as f64).ln(), 0.0f64);
    let mut log = high;
    let mut before = f64::INFINITY;
    for _ in 0..200 {
        let sums = evaluate(Threshold::new(gain, max, log));
        let error = sums.value.ln();
        if error.abs() <= CLOSE {
            break;
        }
        if error > 0.0 {
            high = log;
        } else {
            low = log;
        }
        let newton = log - error * sums.value / (sums.slope * log.exp());
        let middle = 0.5 * (low + high);
        let next = if newton > low && newton < high && error.abs() <= 0.5 * before { newton } else { middle };
        before = error.abs();
        if next == log || high - low <= f64::EPSILON * low.abs() {
            break;
        }
        log = next;
    }
    Threshold::new(gain, max, log)
}

/// The weight of the smallest score of the support, which `ties` scores share, such that all weights sum to 1, for
/// `gain > 1`. The weights of the larger scores sum to `above` when this weight is 0. Every weight is a norm of the
/// pair (its value at 0, this weight) and so convex in this weight: Newton's steps from above fall to the root and do
/// not pass it.
pub(crate) fn from_smallest(
    gain: f64,
    smallest: f64,
    ties: usize,
    above: f64,
    evaluate: impl Fn(Threshold) -> WeightSum,
) -> Threshold {
    let mut weight = (1.0 - above) / ties.max(1) as f64;
    for _ in 0..100 {
        let sums = evaluate(Threshold::new(gain, smallest, weight.ln()));
        let error = sums.value - 1.0;
        let next = weight - error / sums.slope.max(1.0);
        if error <= CLOSE || next <= 0.0 || next >= weight {
            break;
        }
        weight = next;
    }
    Threshold::new(gain, smallest, weight.ln())
}

/// Tolerance of the sum of weights, which are normalised afterwards.
const CLOSE: f64 = 1e-14;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn weights(alpha: f64, scores: &[f64]) -> Vec<f64> {
        let mut entries: Vec<Entry> = scores.iter().copied().zip(0..).collect();
        let solved = solve(&mut entries, alpha);
        scores.iter().copied().zip(0..).map(|entry| solved.weight(entry)).collect()
    }

    fn close(got: &[f64], expected: &[f64], within: f64) {
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < within, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn hand_computed() {
        close(&weights(2.0, &[1.0, 0.6, 0.2]), &[0.7, 0.3, 0.0], 1e-15);
        close(&weights(1.5, &[0.8, 0.4]), &[0.64, 0.36], 1e-14);
        close(&weights(1.5, &[0.0, 5.0]), &[0.0, 1.0], 1e-15);
        // q = 1/2: sqrt(s) + sqrt(s - 0.2) = 1 at s = 0.36.
        close(&weights(3.0, &[1.0, 0.9]), &[0.6, 0.4], 1e-14);
    }

    #[test]
    fn closed_forms_agree_with_the_root() {
        let scores: Vec<f64> = (0..500).map(|i| f64::from(i * 7919 % 1009) / 700.0).collect();
        for alpha in [1.5, 2.0] {
            close(&weights(alpha, &scores), &weights(alpha + 1e-12, &scores), 1e-10);
        }
    }

    #[test]
    fn any_alpha_sums_to_one_in_few_evaluations() {
        for alpha in [1.000_000_1, 1.001, 1.05, 1.25, 1.75, 2.5, 4.0, 6.0, 20.0, 1000.0, 1e6] {
            for spread in [0.0, 1e-9, 0.01, 1.0, 100.0] {
                let gain = alpha - 1.0;
                let scores: Vec<f64> = (0..1000).map(|i| -spread * f64::from(i * 7919 % 1009) / 1009.0).collect();
                let count = Cell::new(0);
                let sums = |threshold: Threshold| {
                    count.set(count.get() + 1);
                    scores.iter().fold(WeightSum::default(), |mut sums, score| {
                        sums.add(&threshold.slope(*score));
                        sums
                    })
                };
                let mut falling = scores.clone();
                falling.sort_by(|a, b| b.total_cmp(a));
                let total = |smallest: f64| falling.iter().map(|score| above(gain, smallest, *score)).sum::<f64>();
                let threshold = if gain < 1.0 {
                    from_largest(gain, falling[0], scores.len(), sums)
                } else {
                    let smallest = falling[falling.partition_point(|smallest| total(*smallest) < 1.0) - 1];
                    let ties = falling.iter().filter(|score| **score == smallest).count();
                    let sums = |threshold: Threshold| {
                        count.set(count.get() + 1);
                        let support = scores.iter().filter(|score| **score >= smallest);
                        support.fold(WeightSum::default(), |mut sums, score| {
                            sums.add(&threshold.slope(*score));
                            sums
                        })
                    };
                    from_smallest(gain, smallest, ties, total(smallest), sums)
                };
                let sum: f64 = scores.iter().map(|score| threshold.weight(*score)).sum();
                assert!((sum - 1.0).abs() < 1e-9, "alpha {alpha} spread {spread}: {sum}");
                assert!(count.get() < 70, "alpha {alpha} spread {spread}: {} evaluations", count.get());
            }
        }
    }
}
