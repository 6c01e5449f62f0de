//! Entmax (sparsemax at `alpha = 2`): the threshold of a row of scores.
//!
//! With `gain = alpha - 1`, the weight of a score `z` is `(gain (z - from) + s) ^ (1/gain)` where that base is above
//! zero, `from` being a score whose weight `e^log` is known to a factor and `s = e^(gain log)`; `log` is the unknown.
//! Where `gain <= 1`, `from` is the largest score. Where `gain > 1` it is the smallest score that has weight: counted
//! from the largest, the base of a weight at the edge of the support would vanish by rounding (0.1^gain is 1e-49 at
//! alpha = 50). In logarithms every alpha above 1 is well conditioned.

use super::{Entry, Solved};

/// `1/(alpha-1)`: no score this far below the largest has weight.
pub fn power(alpha: f64) -> f64 {
    1.0 / (alpha - 1.0)
}

/// A row of scores, solved: how a score becomes its weight, up to a common factor near 1.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    gain: f64,
    from: f64,
    log: f64,
    s: f64,
}

impl Threshold {
    /// The threshold under which the score `from` weighs `e^log`.
    pub fn new(gain: f64, from: f64, log: f64) -> Self {
        Self { gain, from, log, s: (gain * log).exp() }
    }

    /// The threshold under which the score `from` weighs `s ^ (1/gain)`.
    fn at(gain: f64, from: f64, s: f64) -> Self {
        Self { gain, from, log: s.ln() / gain, s }
    }

    pub fn alpha(&self) -> f64 {
        1.0 + self.gain
    }

    /// How far `gain z` is above the threshold.
    pub fn gap(&self, score: f64) -> f64 {
        self.gain * (score - self.from) + self.s
    }

    /// The weight of a score.
    pub fn weight(&self, score: f64) -> f64 {
        if self.gain == 1.0 {
            return self.gap(score).max(0.0);
        }
        if self.gain == 0.5 {
            return self.gap(score).max(0.0).powi(2);
        }
        let above = self.gain * (score - self.from);
        if above > 0.0 {
            let log = above.ln() / self.gain;
            let (high, low) = (log.max(self.log), log.min(self.log));
            return (high + (self.gain * (low - high)).exp().ln_1p() / self.gain).exp();
        }
        if above == 0.0 {
            return self.log.exp();
        }
        // Where `from` is the smallest score that has weight, those below it have none, whatever weight is tried for
        // it.
        let share = if self.gain > 1.0 { -1.0 } else { above / self.s };
        if share <= -1.0 { 0.0 } else { (self.log + share.ln_1p() / self.gain).exp() }
    }

    /// The weight of a score, and how fast it changes with that of `from`.
    pub fn slope(&self, score: f64) -> Sums {
        let weight = self.weight(score);
        let above = self.gain * (score - self.from);
        let rate = match weight > 0.0 {
            false => 0.0,
            // Below 1, and so small a power may vanish.
            true if self.gain > 1.0 => ((self.gain - 1.0) * (self.log - weight.ln())).exp(),
            true => self.s / (above + self.s) * weight / self.log.exp(),
        };
        Sums { value: weight, slope: rate }
    }
}

/// Sums of weights, and of how fast they change with the weight of `from`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    value: f64,
    slope: f64,
}

impl Sums {
    pub fn merge(&mut self, other: &Self) {
        self.value += other.value;
        self.slope += other.slope;
    }
}

/// Solves a row of at least one entry; leaves the entries in falling order of score.
pub fn solve(entries: &mut [Entry], alpha: f64) -> Solved {
    entries.sort_unstable_by(super::preferred);
    let (gain, max) = (alpha - 1.0, entries[0].0);
    // Nothing at 1 or more below the maximum can have weight.
    let reach = entries.partition_point(|entry| gain * (max - entry.0) < 1.0).max(1);
    let entries = &entries[..reach];
    let distances = entries.iter().map(|entry| gain * (max - entry.0));
    let sums = |threshold: Threshold, entries: &[Entry]| {
        entries.iter().fold(Sums::default(), |mut sums, entry| {
            sums.merge(&threshold.slope(entry.0));
            sums
        })
    };
    let threshold = if gain == 1.0 {
        Threshold::at(gain, max, linear(distances))
    } else if gain == 0.5 {
        Threshold::at(gain, max, quadratic(distances))
    } else if gain < 1.0 {
        from_largest(gain, max, reach, |threshold| sums(threshold, entries))
    } else {
        let support = entries.partition_point(|entry| sum_above(gain, entry.0, entries.iter()) < 1.0).max(1);
        let entries = &entries[..support];
        let least = entries[support - 1].0;
        let ties = entries.iter().rev().take_while(|entry| entry.0 == least).count();
        from_smallest(gain, least, ties, sum_above(gain, least, entries.iter()), |threshold| sums(threshold, entries))
    };
    Solved::Entmax { threshold, sum: entries.iter().map(|entry| threshold.weight(entry.0)).sum() }
}

/// What the scores above `least` would weigh if `least` were the threshold. It falls as `least` rises, and `least` has
/// weight where this is below 1. The entries fall; those that follow do not matter.
fn sum_above<'e>(gain: f64, least: f64, entries: impl Iterator<Item = &'e Entry>) -> f64 {
    entries.take_while(|entry| entry.0 > least).map(|entry| above(gain, least, entry.0)).sum()
}

/// What a score weighs where `least` is the threshold.
pub fn above(gain: f64, least: f64, score: f64) -> f64 {
    if score > least { (gain * (score - least)).powf(1.0 / gain) } else { 0.0 }
}

/// `sum (s - u_i)_+ = 1` for rising `u` (Held et al. 1974; Martins and Astudillo 2016): the last `u` below the threshold
/// that it implies is the last of the support.
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
/// where the sum of equal scores is a straight line, kept within a bracket: a step that leaves it, or that gains too
/// little, is replaced by its middle. Each evaluation may be a pass over all patterns.
pub fn from_largest(gain: f64, max: f64, n: usize, evaluate: impl Fn(Threshold) -> Sums) -> Threshold {
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
/// `gain > 1`. The others sum to `above` without it. Every weight is a norm of the pair (what it is without it, it) and
/// so convex in it: Newton's steps from above fall to the root and do not pass it.
pub fn from_smallest(
    gain: f64,
    least: f64,
    ties: usize,
    above: f64,
    evaluate: impl Fn(Threshold) -> Sums,
) -> Threshold {
    let mut weight = (1.0 - above) / ties.max(1) as f64;
    for _ in 0..100 {
        let sums = evaluate(Threshold::new(gain, least, weight.ln()));
        let error = sums.value - 1.0;
        let next = weight - error / sums.slope.max(1.0);
        if error <= CLOSE || next <= 0.0 || next >= weight {
            break;
        }
        weight = next;
    }
    Threshold::new(gain, least, weight.ln())
}

/// How near to 1 a sum of weights comes; the weights are normalised afterwards.
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
                    scores.iter().fold(Sums::default(), |mut sums, score| {
                        sums.merge(&threshold.slope(*score));
                        sums
                    })
                };
                let mut falling = scores.clone();
                falling.sort_by(|a, b| b.total_cmp(a));
                let total = |least: f64| falling.iter().map(|score| above(gain, least, *score)).sum::<f64>();
                let threshold = if gain < 1.0 {
                    from_largest(gain, falling[0], scores.len(), sums)
                } else {
                    let least = falling[falling.partition_point(|least| total(*least) < 1.0) - 1];
                    let ties = falling.iter().filter(|score| **score == least).count();
                    let sums = |threshold: Threshold| {
                        count.set(count.get() + 1);
                        let support = scores.iter().filter(|score| **score >= least);
                        support.fold(Sums::default(), |mut sums, score| {
                            sums.merge(&threshold.slope(*score));
                            sums
                        })
                    };
                    from_smallest(gain, least, ties, total(least), sums)
                };
                let sum: f64 = scores.iter().map(|score| threshold.weight(*score)).sum();
                assert!((sum - 1.0).abs() < 1e-9, "alpha {alpha} spread {spread}: {sum}");
                assert!(count.get() < 70, "alpha {alpha} spread {spread}: {} evaluations", count.get());
            }
        }
    }
}
