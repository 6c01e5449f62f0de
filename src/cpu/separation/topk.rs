//! Top-k by passes over all patterns.

use crate::cpu::pack::Query;
use crate::cpu::tiles::PatternView;
use crate::exact::solved::Solved;
use crate::exact::{softmax, topk};

/// Solves top-k for the scores of `query`: finds the `k`-th largest score digit by digit, then the last of its ties
/// that is still among the `k`.
pub(crate) fn solve(view: &PatternView<'_>, query: &Query, k: usize) -> Solved {
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
        |running, pattern| {
            if among.weight((pattern.score, pattern.index)) > 0.0 {
                softmax::accumulate(running, pattern.score);
            }
        },
    );
    let (max, sum) = softmax::join(&splits);
    Solved::TopK { last, max, sum }
}
