//! Separations solved by passes over all patterns, where a list of those that can have weight would be too long: the
//! same answers, in memory that does not depend on the number of patterns.

use super::entmax::{Sums, Threshold};
use super::{Solved, entmax, softmax, topk};
use crate::cpu::similarity::Query;
use crate::cpu::tiles::PatternView;
use crate::rule::Separation;

/// Solves `separation` for the scores of `query`.
pub fn solve(view: &PatternView<'_>, query: &Query, separation: Separation) -> Solved {
    match separation {
        Separation::Softmax => exponentials(view, query, false),
        Separation::Softmax1 => exponentials(view, query, true),
        Separation::Sparsemax => threshold(view, query, 2.0),
        Separation::Entmax { alpha } => threshold(view, query, f64::from(alpha)),
        Separation::TopK { k } => largest(view, query, k),
    }
}

fn exponentials(view: &PatternView<'_>, query: &Query, plus_one: bool) -> Solved {
    let splits = view.pass(
        query,
        false,
        |_| (f64::NEG_INFINITY, 0.0),
        |(max, sum), pattern| {
            if pattern.score > *max {
                *sum *= softmax::shrink(*max, pattern.score);
                *max = pattern.score;
            }
            *sum += (pattern.score - *max).exp();
        },
    );
    let max = splits.iter().fold(f64::NEG_INFINITY, |most, (max, _)| most.max(*max));
    softmax::solved(max, splits.iter().map(|(m, sum)| sum * softmax::shrink(*m, max)).sum(), plus_one)
}

fn threshold(view: &PatternView<'_>, query: &Query, alpha: f64) -> Solved {
    let gain = alpha - 1.0;
    let (max, count) = view
        .pass(
            query,
            false,
            |_| (f64::NEG_INFINITY, 0),
            |(max, count), pattern| {
                *max = pattern.score.max(*max);
                *count += 1usize;
            },
        )
        .into_iter()
        .fold((f64::NEG_INFINITY, 0), |(max, count), (m, c)| (m.max(max), count + c));
    if count == 0 {
        return Solved::Nothing;
    }
    let evaluate = |threshold: Threshold| {
        let splits = view.pass(
            query,
            false,
            |_| Sums::default(),
            |sums, pattern| {
                sums.merge(&threshold.slope(pattern.score));
            },
        );
        let mut total = Sums::default();
        for sums in &splits {
            total.merge(sums);
        }
        total
    };
    let threshold = if gain <= 1.0 {
        entmax::from_largest(gain, max, count, evaluate)
    } else {
        let edge = edge(view, query, gain, max);
        // The scores above the smallest of the support, that one, and how many share it.
        let splits = view.pass(
            query,
            false,
            |_| (f64::INFINITY, 0usize),
            |(least, ties), pattern| {
                if pattern.score >= edge && pattern.score < *least {
                    (*least, *ties) = (pattern.score, 0);
                }
                *ties += usize::from(pattern.score == *least);
            },
        );
        let least = splits.iter().fold(max, |least, (of_split, _)| least.min(*of_split));
        let ties = splits.iter().filter(|(of_split, _)| *of_split == least).map(|(_, ties)| ties).sum();
        entmax::from_smallest(gain, least, ties, sums_above(view, query, gain, &[least])[0], evaluate)
    };
    let sums = view.pass(query, false, |_| 0.0, |sum, pattern| *sum += threshold.weight(pattern.score));
    Solved::Entmax { threshold, sum: sums.iter().sum() }
}

/// For each of some numbers, what the scores above it would weigh if it were the threshold.
fn sums_above(view: &PatternView<'_>, query: &Query, gain: f64, numbers: &[f64]) -> Vec<f64> {
    let splits = view.pass(
        query,
        false,
        |_| vec![0.0; numbers.len()],
        |sums, pattern| {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += entmax::above(gain, *number, pattern.score);
            }
        },
    );
    (0..numbers.len()).map(|i| splits.iter().map(|sums| sums[i]).sum()).collect()
}

/// The smallest number at which the scores above it sum to less than 1: scores from there on have weight. The numbers
/// within `1/gain` of the largest score are divided again and again, evenly in the order of `f64`.
fn edge(view: &PatternView<'_>, query: &Query, gain: f64, max: f64) -> f64 {
    const TRIALS: u64 = 15;
    let (mut low, mut high) = (topk::ordered(max - 1.0 / gain), topk::ordered(max));
    while low + 1 < high {
        let step = ((high - low) / (TRIALS + 1)).max(1);
        let numbers: Vec<u64> = (1..=TRIALS).map(|i| low + i * step).take_while(|number| *number < high).collect();
        let trials: Vec<f64> = numbers.iter().map(|number| topk::score(*number)).collect();
        for (number, sum) in numbers.into_iter().zip(sums_above(view, query, gain, &trials)) {
            if sum < 1.0 {
                high = number;
                break;
            }
            low = number;
        }
    }
    topk::score(high)
}

/// Finds the `k`-th largest score digit by digit, then the last of its ties that is still among the `k`.
fn largest(view: &PatternView<'_>, query: &Query, k: usize) -> Solved {
    const DIGIT: u32 = 11;
    const VALUES: usize = 1 << DIGIT;
    let (mut found, mut known, mut missing) = (0u64, 0u32, k);
    while known < 64 {
        let bits = DIGIT.min(64 - known);
        let shift = 64 - known - bits;
        let splits = view.pass(
            query,
            false,
            |_| vec![0usize; VALUES],
            |counts, pattern| {
                let number = topk::ordered(pattern.score);
                if known == 0 || number >> (64 - known) == found {
                    counts[(number >> shift) as usize & ((1 << bits) - 1)] += 1;
                }
            },
        );
        let counts: Vec<usize> = (0..1 << bits).map(|digit| splits.iter().map(|counts| counts[digit]).sum()).collect();
        let total: usize = counts.iter().sum();
        if total == 0 {
            return Solved::Nothing;
        }
        // Fewer than k are usable: all of them are among the k, down to the smallest.
        missing = missing.min(total);
        let mut digit = (1usize << bits) - 1;
        while counts[digit] < missing {
            missing -= counts[digit];
            digit -= 1;
        }
        found = found << bits | digit as u64;
        known += bits;
    }
    let score = topk::score(found);
    let ties = view.pass(query, false, |_| 0usize, |ties, pattern| *ties += usize::from(pattern.score == score));
    let before = |split: usize| ties[..split].iter().sum::<usize>();
    let last = view
        .pass(
            query,
            false,
            |split| (before(split), None),
            |(ties, last), pattern| {
                if pattern.score == score {
                    *ties += 1;
                    if *ties == missing {
                        *last = Some(pattern.index);
                    }
                }
            },
        )
        .into_iter()
        .find_map(|(_, last)| last)
        .unwrap_or(usize::MAX);
    let last = (score, last);
    let among = Solved::TopK { last, max: score, sum: 1.0 };
    let splits = view.pass(
        query,
        false,
        |_| (f64::NEG_INFINITY, 0.0),
        |(max, sum), pattern| {
            if among.weight((pattern.score, pattern.index)) > 0.0 {
                if pattern.score > *max {
                    *sum *= softmax::shrink(*max, pattern.score);
                    *max = pattern.score;
                }
                *sum += (pattern.score - *max).exp();
            }
        },
    );
    let max = splits.iter().fold(f64::NEG_INFINITY, |most, (max, _)| most.max(*max));
    Solved::TopK { last, max, sum: splits.iter().map(|(m, sum)| sum * softmax::shrink(*m, max)).sum() }
}
