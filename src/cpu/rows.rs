//! Rows of one window in host memory or in a file, in the precision of the memory, read tile by tile as `f32`.
#![allow(unsafe_code, reason = "vectors of narrow elements are loaded through pointers to chunks")]
#![allow(clippy::inline_always, reason = "see `simd`")]

use std::borrow::Cow;
use std::sync::Arc;

use half::f16;

use crate::cpu::aligned::AlignedVec;
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::{Simd, Work};
use crate::error::Result;
use crate::precision::Precision;
use crate::room::{copy_first, zeros};
use crate::store::{Encoded, RowSource, half_of, quantize, stride};

/// Rows of `stride(columns)` elements, the padding zero.
#[derive(Debug)]
pub(super) enum Rows {
    F32(AlignedVec<f32>),
    F16(AlignedVec<f16>),
    I8 {
        levels: AlignedVec<i8>,
        scales: Vec<f32>,
    },
    /// Rows that a source has from row `first` on, read each time that they are loaded.
    Sourced {
        source: Arc<dyn RowSource>,
        first: usize,
        precision: Precision,
        scales: Vec<f32>,
    },
}

impl Rows {
    pub fn allocate(operation: &'static str, precision: Precision, rows: usize, columns: usize) -> Result<Self> {
        let length = rows.saturating_mul(stride(columns));
        Ok(match precision {
            Precision::F32 | Precision::I8Exact => Self::F32(AlignedVec::try_zeros(operation, length)?),
            Precision::F16 => Self::F16(AlignedVec::try_zeros(operation, length)?),
            Precision::I8 => Self::I8 {
                levels: AlignedVec::try_zeros(operation, length)?,
                scales: zeros(operation, "scales", rows)?,
            },
        })
    }

    /// `rows` rows that `source` has from row `first` on.
    pub fn sourced(
        operation: &'static str,
        precision: Precision,
        rows: usize,
        (source, first): (&Arc<dyn RowSource>, usize),
    ) -> Result<Self> {
        let scaled = if precision == Precision::I8 { rows } else { 0 };
        Ok(Self::Sourced { source: source.clone(), first, precision, scales: zeros(operation, "scales", scaled)? })
    }

    /// A copy with the same number of rows, of which the first `used` are copied.
    pub fn try_clone(&self, operation: &'static str, used: usize, columns: usize) -> Result<Self> {
        let elements = used * stride(columns);
        Ok(match self {
            Self::F32(rows) => Self::F32(rows.try_clone(operation, elements)?),
            Self::F16(rows) => Self::F16(rows.try_clone(operation, elements)?),
            Self::I8 { levels, scales } => Self::I8 {
                levels: levels.try_clone(operation, elements)?,
                scales: copy_first(operation, "scales", scales, used)?,
            },
            Self::Sourced { source, first, precision, scales } => Self::Sourced {
                source: source.clone(),
                first: *first,
                precision: *precision,
                scales: copy_first(operation, "scales", scales, used.min(scales.len()))?,
            },
        })
    }

    /// Stores tight `rows` from row `at` on. Those that a source has are not written.
    pub fn store(&mut self, at: usize, rows: &[f32], columns: usize) {
        let stride = stride(columns);
        for (row, from) in rows.chunks_exact(columns).enumerate() {
            let start = (at + row) * stride;
            match self {
                Self::F32(to) => to[start..start + columns].copy_from_slice(from),
                Self::F16(to) => {
                    for (to, value) in to[start..start + columns].iter_mut().zip(from) {
                        *to = half_of(*value);
                    }
                }
                Self::I8 { levels, scales } => {
                    scales[at + row] = quantize(from, &mut levels[start..start + columns]);
                }
                Self::Sourced { .. } => debug_assert!(false, "memories refuse to write to a file"),
            }
        }
    }

    /// Stores encoded rows from row `at` on. Of those that a source has, which has these, only the scales are.
    pub fn store_encoded(&mut self, at: usize, rows: &Encoded<'_>, columns: usize) {
        let start = at * stride(columns);
        let count = rows.scales.len();
        let range = start..start + count * stride(columns);
        match self {
            Self::F32(to) => bytemuck::cast_slice_mut(&mut to[range]).copy_from_slice(&rows.rows),
            Self::F16(to) => bytemuck::cast_slice_mut(&mut to[range]).copy_from_slice(&rows.rows),
            Self::I8 { levels, scales } => {
                bytemuck::cast_slice_mut(&mut levels[range]).copy_from_slice(&rows.rows);
                scales[at..at + count].copy_from_slice(&rows.scales);
            }
            Self::Sourced { scales, .. } if scales.is_empty() => {}
            Self::Sourced { scales, .. } => scales[at..at + count].copy_from_slice(&rows.scales),
        }
    }

    /// `count` rows from row `at` on, encoded.
    pub fn stored(&self, at: usize, count: usize, columns: usize) -> Encoded<'_> {
        let range = at * stride(columns)..(at + count) * stride(columns);
        let (rows, scales): (Cow<'_, [u8]>, _) = match self {
            Self::F32(rows) => (bytemuck::cast_slice(&rows[range]).into(), None),
            Self::F16(rows) => (bytemuck::cast_slice(&rows[range]).into(), None),
            Self::I8 { levels, scales } => (bytemuck::cast_slice(&levels[range]).into(), Some(&scales[at..at + count])),
            Self::Sourced { source, first, precision, scales } => {
                let mut rows = vec![0; range.len() * precision.bytes()];
                source.fill(first + at, &mut rows);
                (rows.into(), scales.get(at..at + count).filter(|scales| !scales.is_empty()))
            }
        };
        Encoded { rows, scales: scales.map_or_else(|| vec![1.0; count].into(), Into::into) }
    }

    /// `count` rows from row `at` on, each `stride` floats: borrowed if held as `f32`, else decoded into `scratch`.
    pub fn load<'a>(&'a self, at: usize, count: usize, stride: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let range = at * stride..(at + count) * stride;
        match self {
            Self::F32(rows) => return &rows[range],
            Self::F16(rows) => {
                scratch.resize(count * stride, 0.0);
                Level::best().run(Halves { from: &rows[range], to: scratch });
            }
            Self::I8 { levels, scales } => {
                scratch.resize(count * stride, 0.0);
                Level::best().run(Bytes { from: &levels[range], scales: &scales[at..], stride, to: scratch });
            }
            Self::Sourced { source, first, precision, scales } => {
                scratch.resize(count * stride, 0.0);
                let first = first + at;
                match precision {
                    Precision::F32 | Precision::I8Exact => source.fill(first, bytemuck::cast_slice_mut(scratch)),
                    Precision::F16 => {
                        let mut from = vec![f16::ZERO; count * stride];
                        source.fill(first, bytemuck::cast_slice_mut(&mut from));
                        Level::best().run(Halves { from: &from, to: scratch });
                    }
                    Precision::I8 => {
                        let mut from = vec![0i8; count * stride];
                        source.fill(first, bytemuck::cast_slice_mut(&mut from));
                        Level::best().run(Bytes { from: &from, scales: &scales[at..], stride, to: scratch });
                    }
                }
            }
        }
        scratch
    }
}

/// Converts halves to floats.
struct Halves<'a> {
    from: &'a [f16],
    to: &'a mut [f32],
}

impl Work for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut to = self.to.chunks_exact_mut(S::LANES);
        let from = self.from.chunks_exact(S::LANES);
        let rest = from.remainder();
        for (to, from) in (&mut to).zip(from) {
            simd.prefetch_ahead(from);
            // SAFETY: a chunk has that many halves.
            simd.write(to, unsafe { simd.load_halves(from.as_ptr()) });
        }
        for (to, from) in to.into_remainder().iter_mut().zip(rest) {
            *to = from.to_f32();
        }
    }
}

/// Multiplies levels by the scale of their row.
struct Bytes<'a> {
    from: &'a [i8],
    scales: &'a [f32],
    stride: usize,
    to: &'a mut [f32],
}

impl Work for Bytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.to.chunks_exact_mut(self.stride).zip(self.from.chunks_exact(self.stride));
        for ((to, from), scale) in rows.zip(self.scales) {
            let mut to = to.chunks_exact_mut(S::LANES);
            let from = from.chunks_exact(S::LANES);
            let rest = from.remainder();
            for (to, from) in (&mut to).zip(from) {
                simd.prefetch_ahead(from);
                // SAFETY: a chunk has that many bytes.
                let levels = unsafe { simd.load_bytes(from.as_ptr()) };
                simd.write(to, simd.mul(levels, simd.splat(*scale)));
            }
            for (to, from) in to.into_remainder().iter_mut().zip(rest) {
                *to = f32::from(*from) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(precision: Precision, row: &[f32]) -> Vec<f32> {
        let mut rows = Rows::allocate("test", precision, 3, row.len()).unwrap();
        rows.store(1, row, row.len());
        let mut scratch = Vec::new();
        let loaded = rows.load(1, 1, stride(row.len()), &mut scratch);
        assert!(loaded[row.len()..].iter().all(|v| *v == 0.0), "padding is zero");
        loaded[..row.len()].to_vec()
    }

    #[test]
    fn each_precision_keeps_what_it_promises() {
        let row = [0.1, -3.0, 0.0, 2.5, 1e-3];
        assert_eq!(stored(Precision::F32, &row), row);
        for (got, given) in stored(Precision::F16, &row).iter().zip(row) {
            assert!((got - given).abs() <= given.abs() / 2048.0, "{got} for {given}");
        }
        for (got, given) in stored(Precision::I8, &row).iter().zip(row) {
            assert!((got - given).abs() <= 3.0 / 254.0 * 1.0001, "{got} for {given}");
        }
        assert_eq!(stored(Precision::I8, &row)[1], -3.0, "the largest magnitude is a level");
        assert_eq!(stored(Precision::I8, &[0.0; 5]), [0.0; 5]);
        assert_eq!(stored(Precision::I8, &[1e-45; 2]), [0.0; 2]);
        assert_eq!(stored(Precision::F16, &[1e30, -1e30]), [65504.0, -65504.0]);
    }
}
