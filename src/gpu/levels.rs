//! Keys in 8 bits beside their rows in `f32`, from which bounds of scores are computed (docs/MATH.md).

use super::buffer::{self, Binding};
use super::handles::Handles;
use crate::error::Result;
use crate::exact::scores::MIN_NORM;
use crate::rule::Similarity;
use crate::store::{EncodedRows, Layout, decode, quantize_bounded};

/// The keys of one window in 8 bits, padded as its rows are.
#[derive(Clone, Debug)]
pub(crate) struct StoredLevels {
    pub keys: Binding,
    /// Four floats for each row `g`, which cosine divides by its norm, and what stands for it, `g^`: at least
    /// `|g - g^|`, the bias, the scale of `g^`, and `|g^|`.
    pub terms: Binding,
}

/// Bytes of the terms of a row.
const TERM_BYTES: usize = 16;
/// No row that is answered from is longer.
const LONGEST: f32 = 1e38;

impl StoredLevels {
    /// Room for `rows` rows of keys that are compared by `similarity`, where bounds are computed.
    pub fn create(handles: &Handles, layout: &Layout, similarity: Similarity, rows: usize) -> Result<Option<Self>> {
        if !layout.keeps_levels(similarity) {
            return Ok(None);
        }
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST;
        let create = |label, row: usize| -> Result<Binding> {
            Ok(Binding::from(&buffer::create(handles, label, (rows * row) as u64, usage)?))
        };
        let (keys, terms) = (layout.key_stride(), TERM_BYTES);
        Ok(Some(Self { keys: create("attractor.levels", keys)?, terms: create("attractor.level_terms", terms)? }))
    }

    /// Writes rows, whose keys have these squared norms, from row `at` of the window on.
    pub fn write(
        &self,
        handles: &Handles,
        at: usize,
        rows: &EncodedRows<'_>,
        squares: &[f64],
        (layout, similarity): (&Layout, Similarity),
    ) -> Result<()> {
        let stride = layout.key_stride();
        let mut levels = vec![0i8; rows.count * stride];
        let mut terms = Vec::with_capacity(rows.count);
        let stored = rows.keys.rows.chunks_exact(layout.precision.bytes() * stride);
        for (row, (stored, levels)) in stored.zip(levels.chunks_exact_mut(stride)).enumerate() {
            let key = decode(stored, layout.dim, layout.precision, rows.keys.scales[row]);
            let divisor = if similarity == Similarity::Cosine { squares[row].sqrt().max(MIN_NORM) } else { 1.0 };
            let (scale, error) = quantize_bounded(&key, divisor, &mut levels[..layout.dim]);
            let square: i64 = levels.iter().map(|level| i64::from(*level).pow(2)).sum();
            let rounded = (f64::from(scale) * (square as f64).sqrt()) as f32;
            let bias = rows.bias.as_ref().map_or(0.0, |bias| bias[row]);
            // Shaders know no infinity, and sums of rows this long are refused.
            terms.push([error.min(LONGEST), bias, scale, rounded.min(LONGEST)]);
        }
        handles.write(&self.keys.buffer, (at * stride) as u64, bytemuck::cast_slice(&levels))?;
        handles.write(&self.terms.buffer, (at * TERM_BYTES) as u64, bytemuck::cast_slice(&terms))
    }
}
