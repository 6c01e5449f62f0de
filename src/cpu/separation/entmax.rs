//! Entmax by passes over all patterns.

use crate::cpu::pack::Query;
use crate::cpu::tiles::PatternView;
use crate::exact::entmax;
use crate::exact::solved::Solved;
use crate::exact::threshold::{Threshold, WeightSum};
use crate::exact::topk;

/// Solves entmax of `alpha` for the scores of `query`.
pub(crate) fn solve(view: &PatternView<'_>, query: &Query, alpha: f64) -> Solved {
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
            |_| WeightSum::default(),
            |sums, pattern| {
                sums.add(&threshold.slope(pattern.score));
            },
        );
        let mut total = WeightSum::default();
        for sums in &splits {
            total.add(sums);
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
            |(smallest, ties), pattern| {
                if pattern.score >= edge && pattern.score < *smallest {
                    (*smallest, *ties) = (pattern.score, 0);
                }
                *ties += usize::from(pattern.score == *smallest);
            },
        );
        let smallest = splits.iter().fold(max, |smallest, (of_split, _)| smallest.min(*of_split));
        let ties = splits.iter().filter(|(of_split, _)| *of_split == smallest).map(|(_, ties)| ties).sum();
        entmax::from_smallest(gain, smallest, ties, sums_above(view, query, gain, &[smallest])[0], evaluate)
    };
    let sums = view.pass(query, false, |_| 0.0, |sum, pattern| *sum += threshold.weight(pattern.score));
    Solved::Entmax { threshold, sum: sums.iter().sum() }
}

/// For each of some numbers, the sum of the weights of the scores above it if it were the threshold.
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

/// The smallest number for which the weights of the scores above it sum to less than 1: scores from there on have
/// weight. Found among the numbers within `1/gain` of the largest score by dividing them evenly in the order of `f64`,
/// repeatedly.
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
