//! How a state is compared with a key.

use std::fmt;
use std::str::FromStr;

use super::text::no_such;
use crate::error::{Error, Result};

/// How a state `x` is compared with a stored key `k`.
///
/// Its text is `dot`, `cosine`, `euclidean` or `manhattan`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Similarity {
    /// `<x, k>`: the modern Hopfield network and attention (Ramsauer et al. 2021).
    #[default]
    Dot,
    /// `<x, k> / (|x| |k|)`, norms clamped at 1e-12.
    Cosine,
    /// `-1/2 |x - k|^2`.
    Euclidean,
    /// `-|x - k|_1`.
    Manhattan,
}

impl Similarity {
    /// Whether it is reported as a distance, which rises where the similarity falls.
    pub(crate) fn is_distance(self) -> bool {
        matches!(self, Self::Euclidean | Self::Manhattan)
    }

    /// What a similarity is multiplied by to be reported: `-1/2 |x - k|^2` as the squared distance, `-|x - k|_1` as the
    /// distance.
    pub(crate) fn measure_factor(self) -> f32 {
        match self {
            Self::Dot | Self::Cosine => 1.0,
            Self::Euclidean => -2.0,
            Self::Manhattan => -1.0,
        }
    }

    /// A similarity as it is reported: in `f32`, as the largest number where it is beyond.
    pub(crate) fn measure(self, similarity: f64) -> f32 {
        const MAX: f64 = f32::MAX as f64;
        (f64::from(self.measure_factor()) * similarity).clamp(-MAX, MAX) as f32 + 0.0
    }

    /// Every similarity.
    pub const ALL: [Self; 4] = [Self::Dot, Self::Cosine, Self::Euclidean, Self::Manhattan];

    /// Its text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Similarity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "dot, cosine, euclidean or manhattan";
        let found = Self::ALL.into_iter().find(|similarity| similarity.name() == text);
        found.ok_or_else(|| no_such("Similarity::from_str", "similarity", EXPECTED, text))
    }
}
