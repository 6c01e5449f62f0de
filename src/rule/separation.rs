//! How scores become weights.

use std::fmt;
use std::str::FromStr;

use super::text::no_such;
use crate::error::{Error, Result};

/// How the scores `z` become weights `w`.
///
/// The weights of softmax and of the sparse separations are not negative and sum to 1, or to less under softmax1. Those
/// of [`Separation::Linear`], [`Separation::Power`], [`Separation::Rectified`] and [`Separation::Step`] are functions of
/// one score each, and not normalised: they have a potential `F` with `w = F'(z)`, of which an energy is made
/// ([`RetrieveOptions::energy`](crate::RetrieveOptions::energy)).
///
/// Its text is `softmax`, `softmax1`, `sparsemax`, `entmax 1.5` (with `alpha`), `topk 32` (with `k`), `linear`, `power
/// 3` or `rectified 3` (with `n`), or `step 38` (with `threshold`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Separation {
    /// `exp(z - lse z)`.
    #[default]
    Softmax,
    /// `exp(z) / (1 + sum exp z)` (OutEffHop, Hu et al. 2024): may weigh nothing at all.
    Softmax1,
    /// `[z - tau]_+`: exact zeros; entmax with alpha = 2.
    Sparsemax,
    /// `[(alpha-1) z - tau]_+ ^ (1/(alpha-1))` (Peters et al. 2019), `alpha > 1`.
    Entmax {
        /// The exponent of the Tsallis entropy, above 1 and at most [`Separation::MAX_ALPHA`]; at 1 the rule would be
        /// softmax.
        alpha: f32,
    },
    /// Softmax over the `k` largest scores, zero elsewhere; ties keep the smaller index.
    TopK {
        /// How many patterns may have weight, at least 1.
        k: usize,
    },
    /// `z`: classical Hopfield networks and resonators. `F = z^2 / 2`.
    Linear,
    /// `z^n`: dense associative memory (Krotov and Hopfield 2016) with interactions of order `n + 1`.
    /// `F = z^(n+1) / (n+1)`.
    Power {
        /// The exponent, from 1 to [`Separation::MAX_POWER`].
        n: u32,
    },
    /// `max(z, 0)^n`. `F = max(z, 0)^(n+1) / (n+1)`.
    Rectified {
        /// The exponent, from 1 to [`Separation::MAX_POWER`].
        n: u32,
    },
    /// 1 where `z >= threshold`, else 0: sparse distributed memory (Kanerva 1988). `F = max(z - threshold, 0)`.
    Step {
        /// The least score that has weight; finite.
        threshold: f32,
    },
}

impl Separation {
    /// The largest `alpha` of [`Separation::Entmax`]: weights are within their bounds up to here.
    pub const MAX_ALPHA: f32 = 1e6;

    /// The largest `n` of [`Separation::Power`] and [`Separation::Rectified`].
    pub const MAX_POWER: u32 = 63;

    /// Whether the weights are those of a distribution over the patterns: true for softmax, softmax1, sparsemax, entmax
    /// and topk.
    pub const fn is_normalized(self) -> bool {
        !matches!(self, Self::Linear | Self::Power { .. } | Self::Rectified { .. } | Self::Step { .. })
    }

    /// Its text without the parameter: `softmax`, `softmax1`, `sparsemax`, `entmax`, `topk`, `linear`, `power`,
    /// `rectified` or `step`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Softmax1 => "softmax1",
            Self::Sparsemax => "sparsemax",
            Self::Entmax { .. } => "entmax",
            Self::TopK { .. } => "topk",
            Self::Linear => "linear",
            Self::Power { .. } => "power",
            Self::Rectified { .. } => "rectified",
            Self::Step { .. } => "step",
        }
    }
}

impl fmt::Display for Separation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entmax { alpha } => f.pad(&format!("{} {alpha}", self.name())),
            Self::TopK { k } => f.pad(&format!("{} {k}", self.name())),
            Self::Power { n } | Self::Rectified { n } => f.pad(&format!("{} {n}", self.name())),
            Self::Step { threshold } => f.pad(&format!("{} {threshold}", self.name())),
            Self::Softmax | Self::Softmax1 | Self::Sparsemax | Self::Linear => f.pad(self.name()),
        }
    }
}

impl FromStr for Separation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "softmax, softmax1, sparsemax, entmax with an alpha, topk with a k, linear, power or \
                                rectified with an n, or step with a threshold";
        let found = match text.split_once(' ').unwrap_or((text, "")) {
            ("softmax", "") => Some(Self::Softmax),
            ("softmax1", "") => Some(Self::Softmax1),
            ("sparsemax", "") => Some(Self::Sparsemax),
            ("entmax", alpha) => alpha.parse().ok().map(|alpha| Self::Entmax { alpha }),
            ("topk", k) => k.parse().ok().map(|k| Self::TopK { k }),
            ("linear", "") => Some(Self::Linear),
            ("power", n) => n.parse().ok().map(|n| Self::Power { n }),
            ("rectified", n) => n.parse().ok().map(|n| Self::Rectified { n }),
            ("step", threshold) => threshold.parse().ok().map(|threshold| Self::Step { threshold }),
            _ => None,
        };
        found.ok_or_else(|| no_such("Separation::from_str", "separation", EXPECTED, text))
    }
}
