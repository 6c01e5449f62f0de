//! Separations solved by passes over all patterns, where a list of those that can have weight would be too long: the
//! same answers, in memory that does not depend on the number of patterns.

use super::{Weigher, entmax, softmax, topk};
use crate::cpu::similarity::Query;
use crate::cpu::walk::Walk;
use crate::rule::Separation;

/// Solves `separation` for the scores of `query`.
pub fn solve(walk: &Walk<'_>, query: &Query, separation: Separation) -> Weigher {
    match separation {
        Separation::Softmax => exponentials(walk, query, false),
        Separation::Softmax1 => exponentials(walk, query, true),
        Separation::Sparsemax => threshold(walk, query, 2.0),
        Separation::Entmax { alpha } => threshold(walk, query, f64::from(alpha)),
        Separation::TopK { k } => largest(walk, query, k),
    }
}

fn exponentials(walk: &Walk<'_>, query: &Query, plus_one: bool) -> Weigher {
    let splits = walk.pass(
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
    softmax::weigher(max, splits.iter().map(|(m, sum)| sum * softmax::shrink(*m, max)).sum(), plus_one)
}

fn threshold(walk: &Walk<'_>, query: &Query, alpha: f64) -> Weigher {
    let q = entmax::power(alpha);
    let (max, count) = walk
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
        return Weigher::Nothing;
    }
    let max = (alpha - 1.0) * max;
    let s = entmax::root(alpha, count, |s| {
        let splits = walk.pass(
            query,
            false,
            |_| entmax::Sums::default(),
            |sums, pattern| {
                sums.add(s - entmax::below(max, alpha, pattern.score), q);
            },
        );
        let mut total = entmax::Sums::default();
        for sums in &splits {
            total.merge(sums);
        }
        total
    });
    let unnormalised = Weigher::Entmax { max, s, alpha, sum: 1.0 };
    let sums = walk.pass(
        query,
        false,
        |_| 0.0,
        |sum, pattern| {
            *sum += unnormalised.weight((pattern.score, pattern.index));
        },
    );
    Weigher::Entmax { max, s, alpha, sum: sums.iter().sum() }
}

/// Finds the `k`-th largest score digit by digit, then the last of its ties that is still among the `k`.
fn largest(walk: &Walk<'_>, query: &Query, k: usize) -> Weigher {
    const DIGIT: u32 = 11;
    const VALUES: usize = 1 << DIGIT;
    let (mut found, mut known, mut missing) = (0u64, 0u32, k);
    while known < 64 {
        let bits = DIGIT.min(64 - known);
        let shift = 64 - known - bits;
        let splits = walk.pass(
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
            return Weigher::Nothing;
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
    let ties = walk.pass(query, false, |_| 0usize, |ties, pattern| *ties += usize::from(pattern.score == score));
    let before = |split: usize| ties[..split].iter().sum::<usize>();
    let last = walk
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
    let among = Weigher::TopK { last, max: score, sum: 1.0 };
    let splits = walk.pass(
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
    Weigher::TopK { last, max, sum: splits.iter().map(|(m, sum)| sum * softmax::shrink(*m, max)).sum() }
}
