//! The threshold of a similarity.

use crate::error::{Error, Result};
use crate::rule::Similarity;

/// The worst similarity, as it is reported, that is one of a hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// The least similarity.
    AtLeast(f32),
    /// The largest distance.
    AtMost(f32),
}

impl Bound {
    /// The option that sets it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeast(_) => "at_least",
            Self::AtMost(_) => "at_most",
        }
    }

    /// Whether a similarity as it is reported is one of a hit.
    pub fn is_met(self, measure: f32) -> bool {
        match self {
            Self::AtLeast(least) => measure >= least,
            Self::AtMost(most) => measure <= most,
        }
    }

    /// The similarity of [`Bound::AtLeast`].
    pub fn at_least(self) -> Option<f32> {
        match self {
            Self::AtLeast(least) => Some(least),
            Self::AtMost(_) => None,
        }
    }

    /// The distance of [`Bound::AtMost`].
    pub fn at_most(self) -> Option<f32> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::AtLeast(_) => None,
        }
    }

    /// Refuses a threshold that is not finite, or of the other kind than `similarity`.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(self, operation: &'static str, similarity: Similarity) -> Result<()> {
        let (Self::AtLeast(measure) | Self::AtMost(measure)) = self;
        let expected = match self {
            Self::AtLeast(_) if similarity.is_distance() => {
                "left out under euclidean and manhattan similarity, which take at_most"
            }
            Self::AtMost(_) if !similarity.is_distance() => {
                "left out under dot and cosine similarity, which take at_least"
            }
            _ if !measure.is_finite() => "finite",
            _ => return Ok(()),
        };
        Err(Error::Parameter { operation, parameter: self.name(), expected, got: measure.to_string() })
    }
}
