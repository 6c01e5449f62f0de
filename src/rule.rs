//! What a memory computes: a similarity, a separation and an inverse temperature. Data and validation only.

use std::fmt;
use std::str::FromStr;

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

/// How the scores `z` become weights `p`.
///
/// Its text is `softmax`, `softmax1`, `sparsemax`, `entmax 1.5` (with `alpha`) or `topk 32` (with `k`).
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

impl Separation {
    /// The largest `alpha` of [`Separation::Entmax`]: weights are within their bounds up to here.
    pub const MAX_ALPHA: f32 = 1e6;

    /// Its text without the parameter: `softmax`, `softmax1`, `sparsemax`, `entmax` or `topk`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Softmax1 => "softmax1",
            Self::Sparsemax => "sparsemax",
            Self::Entmax { .. } => "entmax",
            Self::TopK { .. } => "topk",
        }
    }
}

impl fmt::Display for Separation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entmax { alpha } => f.pad(&format!("{} {alpha}", self.name())),
            Self::TopK { k } => f.pad(&format!("{} {k}", self.name())),
            Self::Softmax | Self::Softmax1 | Self::Sparsemax => f.pad(self.name()),
        }
    }
}

impl FromStr for Separation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "softmax, softmax1, sparsemax, entmax with an alpha or topk with a k";
        let found = match text.split_once(' ').unwrap_or((text, "")) {
            ("softmax", "") => Some(Self::Softmax),
            ("softmax1", "") => Some(Self::Softmax1),
            ("sparsemax", "") => Some(Self::Sparsemax),
            ("entmax", alpha) => alpha.parse().ok().map(|alpha| Self::Entmax { alpha }),
            ("topk", k) => k.parse().ok().map(|k| Self::TopK { k }),
            _ => None,
        };
        found.ok_or_else(|| no_such("Separation::from_str", "separation", EXPECTED, text))
    }
}

fn no_such(operation: &'static str, parameter: &'static str, expected: &'static str, text: &str) -> Error {
    Error::Parameter { operation, parameter, expected, got: format!("{text:?}") }
}

/// One update: `z_i = beta * similarity(x, k_i)`, `p = separation(z)`, `x' = sum_i p_i k_i`.
///
/// Its text is `dot softmax, beta 0.125`: similarity, separation and inverse temperature.
///
/// ```
/// use attractor::{Rule, Separation, Similarity};
/// let attention = Rule::softmax(0.125);
/// let sparse = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 8.0);
/// assert!(attention.validate().is_ok());
/// assert_ne!(attention, sparse);
/// assert_eq!(sparse.to_string(), "cosine entmax 1.5, beta 8");
/// assert_eq!("cosine entmax 1.5, beta 8".parse::<Rule>()?, sparse);
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// How a state is compared with a key.
    pub similarity: Similarity,
    /// How scores become weights.
    pub separation: Separation,
    /// Inverse temperature: finite, of any sign.
    pub beta: f32,
}

impl Rule {
    /// A rule from its three parts.
    pub const fn new(similarity: Similarity, separation: Separation, beta: f32) -> Self {
        Self { similarity, separation, beta }
    }

    /// Dot similarity with softmax: the modern Hopfield network at inverse temperature `beta`.
    pub const fn softmax(beta: f32) -> Self {
        Self::new(Similarity::Dot, Separation::Softmax, beta)
    }

    /// Dot similarity with softmax at `beta = 1/sqrt(dim)`: scaled dot-product attention, and the default of the
    /// command line.
    pub fn attention(dim: usize) -> Self {
        Self::softmax(1.0 / (dim.max(1) as f32).sqrt())
    }

    /// Refuses a rule that has no energy: one that every update lowers, or leaves as it is, is known for dot similarity
    /// with all separations but topk, and for euclidean similarity with softmax and the sparse separations.
    pub(crate) fn check_energy(&self, operation: &'static str) -> Result<()> {
        let defined = match self.similarity {
            Similarity::Dot => !matches!(self.separation, Separation::TopK { .. }),
            Similarity::Euclidean => !matches!(self.separation, Separation::TopK { .. } | Separation::Softmax1),
            Similarity::Cosine | Similarity::Manhattan => false,
        };
        if defined && self.beta != 0.0 {
            return Ok(());
        }
        let what = match defined {
            true => "the energy at beta = 0, which is not defined,".into(),
            false => {
                let (similarity, separation) = (self.similarity, self.separation.name());
                format!("the energy of {similarity} similarity with {separation}, for which none is defined,")
            }
        };
        Err(Error::Unsupported { operation, what })
    }

    /// Refuses a `beta` that is not finite, an `alpha` that is not above 1 and at most [`Separation::MAX_ALPHA`], and
    /// `k = 0`.
    pub fn validate(&self) -> Result<()> {
        let refuse = |parameter, expected, got: String| {
            Err(Error::Parameter { operation: "Rule::validate", parameter, expected, got })
        };
        if !self.beta.is_finite() {
            return refuse("beta", "finite", self.beta.to_string());
        }
        match self.separation {
            Separation::Entmax { alpha } if !(alpha > 1.0 && alpha <= Separation::MAX_ALPHA) => {
                refuse("alpha", "above 1 (softmax is the limit at 1) and at most 1e6", alpha.to_string())
            }
            Separation::TopK { k: 0 } => refuse("k", "at least 1", "0".into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, beta {}", self.similarity, self.separation, self.beta)
    }
}

/// Reads what [`fmt::Display`] writes. Whether the numbers are within their domains is for [`Rule::validate`].
impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "a similarity, a separation and a beta, as in `dot softmax, beta 0.125`";
        let refuse = || no_such("Rule::from_str", "rule", EXPECTED, text);
        let (parts, beta) = text.split_once(", beta ").ok_or_else(refuse)?;
        let (similarity, separation) = parts.split_once(' ').ok_or_else(refuse)?;
        Ok(Self::new(similarity.parse()?, separation.parse()?, beta.parse().map_err(|_| refuse())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_outside_its_domain() {
        for beta in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Rule::softmax(beta).validate().is_err());
        }
        for beta in [0.0, -3.0, 1e30] {
            assert!(Rule::softmax(beta).validate().is_ok());
        }
        for alpha in [1.0, 0.5, -1.0, 1.1e6, f32::NAN, f32::INFINITY] {
            let rule = Rule::new(Similarity::Dot, Separation::Entmax { alpha }, 1.0);
            let message = rule.validate().unwrap_err().to_string();
            assert!(message.contains("alpha") && message.contains("above 1"), "{message}");
        }
        assert!(Rule::new(Similarity::Dot, Separation::TopK { k: 0 }, 1.0).validate().is_err());
    }

    #[test]
    fn texts_are_read_as_they_are_written() {
        let separations = [
            Separation::Softmax,
            Separation::Softmax1,
            Separation::Sparsemax,
            Separation::Entmax { alpha: 1.1 },
            Separation::TopK { k: 7 },
        ];
        for similarity in Similarity::ALL {
            for separation in separations {
                for beta in [0.1, -1e-30, f32::MAX] {
                    let rule = Rule::new(similarity, separation, beta);
                    assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
                }
            }
        }
        assert_eq!(format!("[{:>9}]", Similarity::Dot), "[      dot]");
        for text in ["", "soft", "softmax 1", "entmax", "entmax x", "topk", "topk -1", "topk 1.5", "topk  2"] {
            let error = text.parse::<Separation>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("sparsemax"), "{error}");
        }
        for text in ["Dot", "dot ", "euclid"] {
            assert!(text.parse::<Similarity>().unwrap_err().to_string().contains("manhattan"), "{text}");
        }
        for text in ["dot softmax", "dot, beta 1", "dot softmax, beta x", "dot softmax beta 1"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
