//! Scores to weights. A [`Solved`] is a separation solved for one row of scores: it turns any score of the row into its
//! weight, so that weights are had again, for reports or sums, without being kept.

pub(super) mod entmax;
pub(super) mod softmax;
pub(super) mod streaming;
pub(super) mod topk;

use crate::rule::Separation;
use entmax::Threshold;

/// A score and the pattern that it belongs to.
pub(super) type Entry = (f64, usize);

/// Falling scores, ties by rising index: the order in which patterns are preferred.
pub(super) fn preferred(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// A separation, solved for one row of scores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Solved {
    /// No pattern is usable.
    Nothing,
    /// `exp(z - max) / sum`; what sums of rows below the row's own largest score are multiplied by is `share`.
    Softmax { max: f64, sum: f64, share: f64 },
    /// The weight that the threshold leaves of a score, over `sum`.
    Entmax { threshold: Threshold, sum: f64 },
    /// Softmax over the entries up to `last` in order of preference.
    TopK { last: Entry, max: f64, sum: f64 },
}

impl Solved {
    /// Solves `separation` for all usable entries, or for those that can have weight.
    pub fn solve(separation: Separation, entries: &mut [Entry]) -> Self {
        if entries.is_empty() {
            return Self::Nothing;
        }
        match separation {
            Separation::Softmax => softmax::solve(entries, false),
            Separation::Softmax1 => softmax::solve(entries, true),
            Separation::Sparsemax => entmax::solve(entries, 2.0),
            Separation::Entmax { alpha } => entmax::solve(entries, f64::from(alpha)),
            Separation::TopK { k } => topk::solve(entries, k),
        }
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// What sums of rows by softmax weights that are not normalised are multiplied by.
    pub fn share(&self) -> f64 {
        match self {
            Self::Softmax { share, .. } => *share,
            // The sums are zeros.
            _ => 1.0,
        }
    }

    /// The weight of an entry of the row.
    pub fn weight(&self, entry: Entry) -> f64 {
        match *self {
            Self::Nothing => 0.0,
            Self::Softmax { max, sum, .. } => (entry.0 - max).exp() / sum,
            Self::Entmax { threshold, sum } => threshold.weight(entry.0) / sum,
            Self::TopK { last, max, sum } => {
                if preferred(&entry, &last).is_le() {
                    (entry.0 - max).exp() / sum
                } else {
                    0.0
                }
            }
        }
    }

    /// Whether the entry counts as support: its weight is above zero in `f32` (softmax: beside the largest weight).
    pub fn supports(&self, entry: Entry) -> bool {
        match *self {
            Self::Softmax { max, .. } => ((entry.0 - max) as f32).exp() > 0.0,
            Self::TopK { last, max, .. } => preferred(&entry, &last).is_le() && ((entry.0 - max) as f32).exp() > 0.0,
            _ => self.weight(entry) as f32 > 0.0,
        }
    }
}
