//! What a memory computes: a similarity, a separation, an inverse temperature, and what ends an update. Data and
//! validation only.

mod activation;
mod separation;
mod similarity;
mod systems;
mod text;
mod update;

pub use activation::{Activation, Zero};
pub use separation::Separation;
pub use similarity::Similarity;
pub use update::{Next, Schedule, Update};

use std::fmt;
use std::str::FromStr;

use text::no_such;

use crate::error::{Error, Result};

/// One update: `z_i = beta * similarity(x, k_i)`, `w = separation(z)`, `y = sum_i w_i k_i`, and `x'` what
/// [`Rule::update`] makes of it; by default `x' = y`.
///
/// Its text is `dot softmax, beta 0.125`: similarity, separation and inverse temperature; and where the update is not
/// the default, ` then ` and its text: `dot linear, beta 1 then sign keep, without self`.
///
/// [`Rule::softmax`] and [`Rule::attention`] are modern Hopfield networks. Others have constructors of their own, from
/// [`Rule::classical_hopfield`] to [`Rule::memory_network`].
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
    /// What ends an update.
    pub update: Update,
}

impl Rule {
    /// A rule from its three parts, whose updates end with the weighted sums.
    pub const fn new(similarity: Similarity, separation: Separation, beta: f32) -> Self {
        Self { similarity, separation, beta, update: Update::NONE }
    }

    /// This rule, with updates that end so.
    pub const fn then(self, update: Update) -> Self {
        Self { update, ..self }
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
    /// with all separations but topk, and for euclidean similarity with softmax and the sparse separations; under
    /// separations that are not normalised, where states are signs and one coordinate moves at a time.
    pub(crate) fn check_energy(&self, operation: &'static str) -> Result<()> {
        let signs = matches!(self.update.activation, Activation::Sign { .. });
        let defined = match (self.similarity, self.separation) {
            (Similarity::Dot, separation) if !separation.is_normalized() => signs,
            _ if !(self.update.is_plain() || signs) || self.update.next == Next::Values => false,
            (Similarity::Dot, separation) => !matches!(separation, Separation::TopK { .. }),
            (Similarity::Euclidean, separation) => {
                !matches!(separation, Separation::TopK { .. } | Separation::Softmax1) && separation.is_normalized()
            }
            (Similarity::Cosine | Similarity::Manhattan, _) => false,
        };
        if defined && self.beta != 0.0 {
            return Ok(());
        }
        let what = match defined {
            true => "the energy at beta = 0, which is not defined,".into(),
            false => {
                let (similarity, separation) = (self.similarity, self.separation.name());
                let update = match self.update == Update::NONE {
                    true => String::new(),
                    false => format!(" and updates that end with `{}`", self.update),
                };
                format!("the energy of {similarity} similarity with {separation}{update}, for which none is defined,")
            }
        };
        Err(Error::Unsupported { operation, what })
    }

    /// Whether every state has to be bipolar, each coordinate 1 or -1.
    pub(crate) fn needs_bipolar_states(&self) -> bool {
        self.update.remove_self && self.separation != Separation::Linear
    }

    /// Refuses a `beta` that is not finite, an `alpha` that is not above 1 and at most [`Separation::MAX_ALPHA`], `k =
    /// 0`, an `n` that is 0 or above [`Separation::MAX_POWER`], a threshold that is not finite, and an update whose
    /// parameters are outside their domains or do not go together.
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
            Separation::Power { n } | Separation::Rectified { n } if n == 0 || n > Separation::MAX_POWER => {
                refuse("n", "from 1 to 63", n.to_string())
            }
            Separation::Step { threshold } if !threshold.is_finite() => {
                refuse("threshold", "finite", threshold.to_string())
            }
            _ => {
                self.update.validate(self.beta)?;
                self.check_self_term()
            }
        }
    }

    /// Refuses to take self-couplings away where that is not defined.
    fn check_self_term(&self) -> Result<()> {
        let update = &self.update;
        let signs = matches!(update.activation, Activation::Sign { zero: Zero::Keep | Zero::Plus });
        let expected = match self.separation {
            _ if !update.remove_self => return Ok(()),
            _ if self.similarity != Similarity::Dot => "unset but with dot similarity",
            _ if update.next == Next::Values => "unset where values go on, which no coordinate couples with itself by",
            _ if self.beta == 0.0 => "unset at beta = 0",
            Separation::Linear => return Ok(()),
            Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } | Separation::Softmax
                if signs && update.damping == 0.0 =>
            {
                return Ok(());
            }
            Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } | Separation::Softmax => {
                "unset unless states are signs: activation `sign keep` or `sign plus`, no damping"
            }
            _ => "unset (without it, `without self`) but for linear, power, rectified, step and softmax",
        };
        let got = format!("`{update}` after {} {}", self.similarity, self.separation);
        Err(Error::Parameter { operation: "Rule::validate", parameter: "remove_self", expected, got })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, beta {}", self.similarity, self.separation, self.beta)?;
        if self.update == Update::NONE { Ok(()) } else { write!(f, " then {}", self.update) }
    }
}

/// Reads what [`fmt::Display`] writes. Whether the numbers are within their domains is for [`Rule::validate`].
impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "a similarity, a separation and a beta, as in `dot softmax, beta 0.125`, and what ends an \
                                update, if anything, as in ` then sign keep`";
        let refuse = || no_such("Rule::from_str", "rule", EXPECTED, text);
        let (rule, update) = text.split_once(" then ").unwrap_or((text, "none"));
        let (parts, beta) = rule.split_once(", beta ").ok_or_else(refuse)?;
        let (similarity, separation) = parts.split_once(' ').ok_or_else(refuse)?;
        let rule = Self::new(similarity.parse()?, separation.parse()?, beta.parse().map_err(|_| refuse())?);
        Ok(rule.then(update.parse()?))
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
        let refused = [
            Separation::TopK { k: 0 },
            Separation::Power { n: 0 },
            Separation::Rectified { n: 64 },
            Separation::Step { threshold: f32::NAN },
        ];
        for separation in refused {
            assert!(Rule::new(Similarity::Dot, separation, 1.0).validate().is_err(), "{separation}");
        }
    }

    #[test]
    fn self_couplings_are_taken_away_where_that_is_defined() {
        let without = |rule: Rule| rule.then(rule.update.remove_self());
        let signs = Update::default().activation(Activation::Sign { zero: Zero::Keep });
        let dot = |separation| Rule::new(Similarity::Dot, separation, 1.0);
        assert!(without(dot(Separation::Linear)).validate().is_ok());
        assert!(without(dot(Separation::Power { n: 3 }).then(signs)).validate().is_ok());
        assert!(without(dot(Separation::Softmax).then(signs)).validate().is_ok());
        let refused = [
            dot(Separation::Power { n: 3 }),
            dot(Separation::Power { n: 3 }).then(signs.damping(0.5)),
            dot(Separation::Step { threshold: 1.0 }).then(signs.activation(Activation::Sign { zero: Zero::Zero })),
            dot(Separation::Sparsemax).then(signs),
            dot(Separation::Linear).then(Update::default().next(Next::Values)),
            Rule::new(Similarity::Cosine, Separation::Linear, 1.0),
            Rule::new(Similarity::Dot, Separation::Linear, 0.0),
        ];
        for rule in refused {
            let message = without(rule).validate().unwrap_err().to_string();
            assert!(message.contains("remove_self"), "{message}");
        }
    }

    #[test]
    fn texts_are_read_as_they_are_written() {
        let separations = [
            Separation::Softmax,
            Separation::Softmax1,
            Separation::Sparsemax,
            Separation::Entmax { alpha: 1.1 },
            Separation::TopK { k: 7 },
            Separation::Linear,
            Separation::Power { n: 3 },
            Separation::Rectified { n: 63 },
            Separation::Step { threshold: -0.25 },
        ];
        for similarity in Similarity::ALL {
            for separation in separations {
                for beta in [0.1, -1e-30, f32::MAX] {
                    let rule = Rule::new(similarity, separation, beta);
                    assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
                    let rule = rule.then(Update::default().carry(0.5).remove_self());
                    assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
                }
            }
        }
        assert_eq!(format!("[{:>9}]", Similarity::Dot), "[      dot]");
        for text in
            ["", "soft", "softmax 1", "entmax", "entmax x", "topk", "topk -1", "topk 1.5", "topk  2", "power", "step"]
        {
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
