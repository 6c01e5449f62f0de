//! A separation solved for one row of scores. It turns any score of the row into its weight, so that reports and sums
//! can compute weights again instead of keeping them.

use crate::exact::entry::{Entry, preferred};
use crate::exact::threshold::Threshold;
use crate::exact::unnormalized::Unnormalized;

/// A separation, solved for one row of scores.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Solved {
    /// No pattern is usable.
    Nothing,
    /// The weight is `exp(z - max) / sum`. `share` is the factor for sums of rows by `exp(z - m)`, where `m` is the
    /// largest score of the row itself; softmax1 may have a larger `max`.
    Softmax { max: f64, sum: f64, share: f64 },
    /// The weight is that of the threshold, over `sum`.
    Entmax { threshold: Threshold, sum: f64 },
    /// Softmax over the entries up to `last` in order of preference.
    TopK { last: Entry, max: f64, sum: f64 },
    /// The weight is that by which a pattern counts. `of_self` is `T`, the coupling of a coordinate with itself.
    Unnormalized { weigher: Unnormalized, of_self: f64 },
}

impl Solved {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The factor that normalises sums of rows by `exp(z - max)`, or by weights that are not divided.
    pub fn share(&self) -> f64 {
        match self {
            Self::Softmax { share, .. } => *share,
            Self::Unnormalized { weigher, .. } => weigher.share(),
            // The sums are zeros, or those of weights.
            _ => 1.0,
        }
    }

    /// The factor of an entry's row in sums that are multiplied by [`Solved::share_of_listed`] in the end.
    pub fn listed(&self, entry: Entry) -> f64 {
        match self {
            Self::Unnormalized { weigher, .. } => weigher.undivided(entry.0).weight,
            _ => self.weight(entry),
        }
    }

    /// The factor of sums of rows by [`Solved::listed`].
    pub fn share_of_listed(&self) -> f64 {
        match self {
            Self::Unnormalized { weigher, .. } => weigher.share(),
            _ => 1.0,
        }
    }

    /// The weight of an entry of the row.
    pub fn weight(&self, entry: Entry) -> f64 {
        match *self {
            Self::Nothing => 0.0,
            Self::Softmax { max, sum, .. } => (entry.0 - max).exp() / sum,
            Self::Entmax { threshold, sum } => threshold.weight(entry.0) / sum,
            Self::Unnormalized { weigher, .. } => weigher.count(entry.0).weight,
            Self::TopK { last, max, sum } => {
                if preferred(&entry, &last).is_le() {
                    (entry.0 - max).exp() / sum
                } else {
                    0.0
                }
            }
        }
    }

    /// Whether the entry counts as support: its weight is above zero in `f32`. For softmax and top-k the weight
    /// relative to the largest weight decides.
    pub fn supports(&self, entry: Entry) -> bool {
        match *self {
            Self::Softmax { max, .. } => ((entry.0 - max) as f32).exp() > 0.0,
            Self::TopK { last, max, .. } => preferred(&entry, &last).is_le() && ((entry.0 - max) as f32).exp() > 0.0,
            _ => self.weight(entry) as f32 > 0.0,
        }
    }
}
