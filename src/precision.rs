//! How keys and values are stored.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How keys and values are stored. Sums are `f32` whatever the storage. Its text is `f32`, `f16`, `i8` or
/// `i8-exact`.
///
/// What rounding costs depends on the patterns. Measured on 12,000 sentence embeddings of 384 dimensions and norm 1
/// (`examples/packages.rs`), the nearest by cosine is the one that exact search finds for 1,000 of 1,000 queries in
/// `F32`, `F16` and `I8Exact`, and for 998 in `I8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// As given.
    #[default]
    F32,
    /// Rounded to the nearest half: 11 bits, magnitudes up to 65,504 and down to 6e-8. A row with a magnitude that
    /// rounds beyond, from 65,520 on, is refused unless [`MemoryOptions::saturate`](crate::MemoryOptions::saturate)
    /// asks for the largest half instead. Magnitudes up to 3e-8 become zero.
    F16,
    /// Rounded to 255 levels between plus and minus the row's largest magnitude, with one `f32` scale per row. Every
    /// finite row is in range; one whose largest magnitude is below 1.5e-36 becomes zeros, for its scale would be
    /// subnormal.
    I8,
    /// As given, and beside them the keys in 8 bits with one `f32` scale and one `f32` error per row, from which bounds
    /// of every score follow: answers are those of [`Precision::F32`], and few queries read a quarter of its bytes.
    ///
    /// The pass reads the 8-bit keys; the patterns whose upper bound can still matter are scored again from the `f32`
    /// rows. That is so for top-k, sparsemax, entmax and, on the CPU engine, a step, under dot, cosine and euclidean.
    /// It reads the `f32` rows, with the same answers, for softmax, which gives every pattern weight; under manhattan,
    /// whose terms have no such bounds; for many queries at once, which are bound by multiplications; and where the
    /// bounds leave too many patterns. The store takes 5/4 of the room of `F32`. In files it is `f32` rows, from which
    /// the rest is made again.
    ///
    /// A GPU has both, too. There up to 16 queries at a time
    /// ([`Tuning::stream_max_batch`](crate::tuning::Tuning::stream_max_batch)) are answered from the 8-bit keys, for
    /// top-k, sparsemax and entmax up to an alpha of 2, and for searches without a threshold, in memories of at least
    /// [`Tuning::bounds_min_coordinates`](crate::tuning::Tuning::bounds_min_coordinates); where more than 512 patterns
    /// are selected or reported, or statistics, weights or energies, the `f32` rows are read.
    /// [`Memory::explain`](crate::Memory::explain) lists the kernel `stream_bounds` where the 8-bit keys are.
    I8Exact,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::I8, Self::I8Exact];

    /// Its text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::I8Exact => "i8-exact",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == text).ok_or_else(|| Error::Parameter {
            operation: "Precision::from_str",
            parameter: "precision",
            expected: "f32, f16, i8 or i8-exact",
            got: format!("{text:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!("F32".parse::<Precision>().unwrap_err().to_string().contains("f32, f16, i8 or i8-exact"));
    }
}
