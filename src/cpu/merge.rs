//! The result of a scan over some of the patterns for one query, and the merge of two of them.

use crate::cpu::candidates::Candidates;
use crate::cpu::simd::level::vectorized;
use crate::exact::softmax;
use crate::finite::all_finite;

/// Softmax over some patterns: the largest score, the sum of `exp(z - max)`, and the same sum weighted by the rows.
/// Weights that are not normalised have 0, or `-inf` where no pattern is usable, and `T` in place of the first two.
#[derive(Clone, Debug)]
pub(super) struct Online {
    pub max: f64,
    pub sum: f64,
    pub keys: Vec<f32>,
    /// Empty unless the scan sums values.
    pub values: Vec<f32>,
    /// The entries of largest score, if they are reported.
    pub list: Option<Candidates>,
}

/// The result of a scan for one query.
#[derive(Clone, Debug)]
pub(super) enum Scan {
    Online(Online),
    Candidates(Candidates),
}

impl Online {
    /// Whether no sum has left the range of `f32`.
    pub fn is_finite(&self) -> bool {
        self.sum.is_finite() && vectorized(|| all_finite(&self.keys) && all_finite(&self.values))
    }

    fn merge(&mut self, other: Self) {
        if let (Some(list), Some(other)) = (&mut self.list, other.list) {
            list.merge(other);
        }
        if other.max == f64::NEG_INFINITY {
            return;
        }
        let max = self.max.max(other.max);
        let (mine, theirs) = (softmax::rescale(self.max, max), softmax::rescale(other.max, max));
        self.max = max;
        self.sum = self.sum * mine + other.sum * theirs;
        for (into, from) in [(&mut self.keys, &other.keys), (&mut self.values, &other.values)] {
            for (sum, other) in into.iter_mut().zip(from) {
                *sum = *sum * mine as f32 + other * theirs as f32;
            }
        }
    }
}

impl Scan {
    /// Merges the result of later patterns for the same query.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Online(mine), Self::Online(other)) => mine.merge(other),
            (Self::Candidates(mine), Self::Candidates(other)) => mine.merge(other),
            _ => unreachable!("a query has one method"),
        }
    }
}
