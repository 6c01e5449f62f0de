//! Rows as they are stored: `f32`, halves, or bytes with one scale a row.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;

use super::layout::{Layout, stride};
use super::rows::NewRows;
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::room::room;

impl Precision {
    /// Bytes of one element of the stored rows; of [`Precision::I8Exact`] without the 8 bits beside them, which are
    /// derived from the rows.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I8Exact => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// The least magnitude that rounds beyond the largest half: halfway to what would be the next one.
const BEYOND_HALVES: f32 = 65_520.0;

/// Refuses finite `values` (row-major, `columns` wide) with a number that rounds to no half, naming the first. `first`
/// is the row of the input that they begin with.
pub(crate) fn check_halves(
    operation: &'static str,
    what: &'static str,
    values: &[f32],
    columns: usize,
    first: usize,
) -> Result<()> {
    // Without an exit within a row or a stretch of it, the loop is vector code.
    const STRETCH: usize = 1024;
    let beyond = |value: &f32| value.abs() >= BEYOND_HALVES;
    let stretch = |part: &[f32]| part.iter().fold(false, |any, value| any | beyond(value));
    let Some(at) = values.chunks(STRETCH).position(stretch) else { return Ok(()) };
    let start = at * STRETCH;
    let at = start + values[start..].iter().position(beyond).unwrap_or(0);
    Err(Error::Range {
        operation,
        what,
        row: first + at / columns,
        expected: "magnitudes below 65520, which round to halves (or a memory that saturates)".into(),
        got: format!("column {} is {:?}", at % columns, values[at]),
    })
}

/// The nearest half. A number beyond the largest, which only a memory that saturates takes, becomes the largest: one
/// infinity would make every answer NaN.
pub(crate) fn half_of(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// A row in units of its scale, which is returned. A row of zeros, or of numbers so small that shaders would flush the
/// scale to zero, has level 0 only.
pub(crate) fn quantize(row: &[f32], levels: &mut [i8]) -> f32 {
    let scale = row.iter().fold(0.0f32, |most, value| most.max(value.abs())) / 127.0;
    // Rounded up, the largest scale of all would make its largest level infinite.
    let scale = if (127.0 * scale).is_finite() { scale } else { scale.next_down() };
    let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / f64::from(scale) } else { 0.0 };
    for (level, value) in levels.iter_mut().zip(row) {
        *level = (f64::from(*value) * inverse).round().clamp(-127.0, 127.0) as i8;
    }
    scale
}

/// The levels of `key / divisor`, with their scale and a bound of how far they are from it: at least
/// `|key / divisor - scale levels|`, infinite where that is beyond `f32`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code of the caller's instruction set")]
pub(crate) fn quantize_bounded(key: &[f32], divisor: f64, levels: &mut [i8]) -> (f32, f32) {
    let scale = (f64::from(quantize(key, levels)) / divisor) as f32;
    let exact = f64::from(scale);
    // Side by side, so that the compiler can use vector registers.
    let (mut squares, mut wholes) = ([0.0f64; 8], [0.0f64; 8]);
    for (key, levels) in key.chunks(8).zip(levels.chunks(8)) {
        for (lane, (key, level)) in key.iter().zip(levels).enumerate() {
            let value = f64::from(*key) / divisor;
            let off = value - exact * f64::from(*level);
            squares[lane] += off * off;
            wholes[lane] += value * value;
        }
    }
    let [off, whole] = [squares, wholes].map(|lanes| lanes.iter().sum::<f64>().sqrt());
    // With room for the rounding of the sums, and of each quotient.
    let roundings = (key.len() as f64 + 16.0) * f64::EPSILON;
    (scale, rounded_up(off * (1.0 + roundings) + 2.0 * f64::EPSILON * whole))
}

/// The least `f32` that is not below a number that is not negative; infinite where there is none.
fn rounded_up(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) < value { nearest.next_up() } else { nearest }
}

/// Tight rows of `columns` as stored rows, padded with zeros to `stride(columns)` elements, and the scale of each row
/// (1 where the precision has none).
pub(crate) fn encode(rows: &[f32], columns: usize, precision: Precision) -> (Vec<u8>, Vec<f32>) {
    let count = rows.len() / columns;
    let mut bytes = vec![0u8; count * stride(columns) * precision.bytes()];
    let mut scales = vec![1.0; count];
    let stored = bytes.chunks_exact_mut(stride(columns) * precision.bytes());
    for ((row, stored), scale) in rows.chunks_exact(columns).zip(stored).zip(&mut scales) {
        match precision {
            Precision::F32 | Precision::I8Exact => stored[..4 * columns].copy_from_slice(bytemuck::cast_slice(row)),
            Precision::F16 => {
                for (to, value) in stored.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                    *to = half_of(*value).to_le_bytes();
                }
            }
            Precision::I8 => *scale = quantize(row, bytemuck::cast_slice_mut(&mut stored[..columns])),
        }
    }
    (bytes, scales)
}

/// Rows in the form in which the windows of every engine hold them: whatever is written, saved and loaded.
#[derive(Clone, Debug)]
pub(crate) struct Encoded<'a> {
    /// Rows of `stride(columns)` elements, padded with zeros.
    pub rows: Cow<'a, [u8]>,
    /// The scale of each row; 1 where the precision has none.
    pub scales: Cow<'a, [f32]>,
}

impl Encoded<'_> {
    /// Rows `range` of these, which are of `row` bytes.
    fn slice(&self, range: &Range<usize>, row: usize) -> Encoded<'_> {
        Encoded {
            rows: Cow::Borrowed(&self.rows[range.start * row..range.end * row]),
            scales: Cow::Borrowed(&self.scales[range.clone()]),
        }
    }
}

/// Patterns in the form in which the windows of every engine hold them.
#[derive(Clone, Debug)]
pub(crate) struct EncodedRows<'a> {
    /// How many.
    pub count: usize,
    pub keys: Encoded<'a>,
    /// Exactly where the layout has a value dimension.
    pub values: Option<Encoded<'a>>,
    /// Zeros when absent.
    pub bias: Option<Cow<'a, [f32]>>,
}

impl<'a> EncodedRows<'a> {
    /// Checked rows in the precision of `layout`.
    pub fn new(rows: &NewRows<'a>, layout: &Layout) -> Self {
        let encoded = |rows: &[f32], columns| {
            let (rows, scales) = encode(rows, columns, layout.precision);
            Encoded { rows: rows.into(), scales: scales.into() }
        };
        Self {
            count: rows.keys.len() / layout.dim,
            keys: encoded(rows.keys, layout.dim),
            values: rows.values.zip(layout.value_dim).map(|(values, columns)| encoded(values, columns)),
            bias: rows.bias.map(Cow::Borrowed),
        }
    }

    /// Rows `range` of these.
    pub fn slice(&self, range: Range<usize>, layout: &Layout) -> EncodedRows<'_> {
        let element = layout.precision.bytes();
        EncodedRows {
            count: range.len(),
            keys: self.keys.slice(&range, layout.key_stride() * element),
            values: self.values.as_ref().map(|values| values.slice(&range, layout.value_stride() * element)),
            bias: self.bias.as_ref().map(|bias| Cow::Borrowed(&bias[range.clone()])),
        }
    }
}

/// One stored row as `f32`, without its padding.
pub(crate) fn decode(stored: &[u8], columns: usize, precision: Precision, scale: f32) -> Vec<f32> {
    let mut row = Vec::with_capacity(columns);
    decode_into(&mut row, stored, columns, precision, scale);
    row
}

/// [`decode`] where the host may have no room for many such rows.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn try_decode(
    operation: &'static str,
    stored: &[u8],
    columns: usize,
    precision: Precision,
    scale: f32,
) -> Result<Vec<f32>> {
    let mut row = room(operation, "rows", columns)?;
    decode_into(&mut row, stored, columns, precision, scale);
    Ok(row)
}

/// Appends one stored row as `f32`, without its padding.
pub(crate) fn decode_into(row: &mut Vec<f32>, stored: &[u8], columns: usize, precision: Precision, scale: f32) {
    match precision {
        Precision::F32 | Precision::I8Exact => {
            row.extend(stored.as_chunks::<4>().0[..columns].iter().map(|bytes| f32::from_ne_bytes(*bytes)));
        }
        Precision::F16 => {
            row.extend(stored.as_chunks::<2>().0[..columns].iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()));
        }
        Precision::I8 => row.extend(stored[..columns].iter().map(|byte| f32::from(byte.cast_signed()) * scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_within_their_precision() {
        let rows =
            [1.0, -0.3, 0.001, 70_000.0, 0.0, 0.0, 0.0, 0.0, 1e-40, -1e-40, 0.0, 0.0, f32::MAX, 0.0, -f32::MAX, 1.0];
        for (precision, error) in [(Precision::F32, 0.0), (Precision::F16, 1.0 / 2048.0), (Precision::I8, 0.5 / 127.0)]
        {
            let (bytes, scales) = encode(&rows, 4, precision);
            for (i, row) in rows.chunks_exact(4).enumerate() {
                let size = 4 * precision.bytes();
                let back = decode(&bytes[i * size..(i + 1) * size], 4, precision, scales[i]);
                let largest = row.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                for (got, stored) in back.iter().zip(row) {
                    let stored = if precision == Precision::F16 { stored.clamp(-65_504.0, 65_504.0) } else { *stored };
                    assert!((got - stored).abs() <= error * largest.max(1e-4), "{precision:?}: {got} for {stored}");
                }
            }
        }
    }

    #[test]
    fn the_range_of_halves_ends_where_they_round_to_infinity() {
        for (value, fits) in [(65_504.0, true), (65_520.0f32.next_down(), true), (65_520.0, false), (f32::MAX, false)] {
            assert_eq!(f16::from_f32(value).is_finite(), fits);
            for value in [value, -value] {
                let mut values = vec![1.0; 3 * 700];
                values[3 * 600 + 1] = value;
                match check_halves("test", "keys", &values, 3, 1000) {
                    Ok(()) => assert!(fits, "{value}"),
                    Err(Error::Range { what: "keys", row: 1600, got, .. }) => {
                        assert!(!fits && got.contains("column 1"), "{value}: {got}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn padding_is_zero() {
        for precision in Precision::ALL {
            let (bytes, _) = encode(&[5.0; 6], 3, precision);
            assert_eq!(bytes.len(), 8 * precision.bytes());
            assert!(bytes[3 * precision.bytes()..4 * precision.bytes()].iter().all(|byte| *byte == 0));
        }
    }
}
