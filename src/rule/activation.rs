//! What is applied to coordinates at the end of an update.

use std::fmt;
use std::str::FromStr;

use super::text::no_such;
use crate::error::{Error, Result};

/// What is applied to each coordinate, or to each block of coordinates, at the end of an update.
///
/// Its text is `none`, `sign keep`, `sign plus`, `sign zero`, `tanh`, `normalize`, `phasor`, `softmax blocks 10` or
/// `argmax blocks 10` (with the width).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// Nothing: `h`.
    #[default]
    None,
    /// The sign of `h`: bipolar states.
    Sign {
        /// What a coordinate becomes whose `h` is 0.
        zero: Zero,
    },
    /// `tanh(h)`: graded neurons (Hopfield 1984), mean fields.
    Tanh,
    /// `h / max(|h|, 1e-12)`, over all coordinates.
    Normalize,
    /// Each pair of coordinates `(re, im)` over its magnitude: phasors, as fourier holographic representations have
    /// them. A pair of zeros becomes `(1, 0)`. The coordinates of a complex number are next to each other, as they are
    /// in an array of complex numbers; `d` is even.
    Phasor,
    /// Softmax within each block of `width` coordinates: Potts neurons in mean field (Peterson and Söderberg 1989).
    SoftmaxBlocks {
        /// Coordinates of a block, at least 1; `d` is a multiple of it.
        width: usize,
    },
    /// 1 at the largest coordinate of each block of `width`, the first of equal ones, and 0 elsewhere.
    ArgmaxBlocks {
        /// Coordinates of a block, at least 1; `d` is a multiple of it.
        width: usize,
    },
}

/// What [`Activation::Sign`] makes of 0. All three conventions are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Zero {
    /// The coordinate stays as it is (Hopfield 1982).
    #[default]
    Keep,
    /// 1 (resonator networks, Frady et al. 2020).
    Plus,
    /// 0 (torchhd).
    Zero,
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Sign { zero: Zero::Keep } => f.pad("sign keep"),
            Self::Sign { zero: Zero::Plus } => f.pad("sign plus"),
            Self::Sign { zero: Zero::Zero } => f.pad("sign zero"),
            Self::Tanh => f.pad("tanh"),
            Self::Normalize => f.pad("normalize"),
            Self::Phasor => f.pad("phasor"),
            Self::SoftmaxBlocks { width } => f.pad(&format!("softmax blocks {width}")),
            Self::ArgmaxBlocks { width } => f.pad(&format!("argmax blocks {width}")),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "none, sign keep, sign plus, sign zero, tanh, normalize, phasor, or softmax blocks or \
                                argmax blocks with a width";
        let found = match text.rsplit_once(' ').unwrap_or((text, "")) {
            ("none", "") => Some(Self::None),
            ("sign", "keep") => Some(Self::Sign { zero: Zero::Keep }),
            ("sign", "plus") => Some(Self::Sign { zero: Zero::Plus }),
            ("sign", "zero") => Some(Self::Sign { zero: Zero::Zero }),
            ("tanh", "") => Some(Self::Tanh),
            ("normalize", "") => Some(Self::Normalize),
            ("phasor", "") => Some(Self::Phasor),
            ("softmax blocks", width) => width.parse().ok().map(|width| Self::SoftmaxBlocks { width }),
            ("argmax blocks", width) => width.parse().ok().map(|width| Self::ArgmaxBlocks { width }),
            _ => None,
        };
        found.ok_or_else(|| no_such("Activation::from_str", "activation", EXPECTED, text))
    }
}
