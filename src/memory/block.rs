//! Consecutive patterns, read back together.

use std::ops::Range;

use super::handle::Memory;
use crate::error::Result;
use crate::id::PatternId;
use crate::patterns::Patterns;
use crate::room::{elements, room};
use crate::store::{Encoded, decode_into, stride};

/// Patterns of consecutive positions as they are stored, as `f32`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    pub ids: Vec<PatternId>,
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    /// Where the memory has biases.
    bias: Option<Vec<f32>>,
}

impl Block {
    pub fn patterns(&self) -> Patterns<'_> {
        Patterns { keys: &self.keys, values: self.values.as_deref(), bias: self.bias.as_deref() }
    }
}

impl Memory {
    /// The patterns at the first of `positions`, which are in use, and how many of the positions these are: as many as
    /// are read at a time. On a GPU they are read back as by [`Memory::get`].
    pub(crate) fn block(&self, operation: &'static str, positions: Range<usize>) -> Result<(usize, Block)> {
        let first = positions.start;
        let rows = self.engine.stored(operation, positions)?;
        let stored: Vec<(usize, PatternId)> =
            (0..rows.count).filter_map(|row| Some((row, self.id_at(first + row)?))).collect();
        let precision = self.layout.precision;
        let decoded = |encoded: &Encoded<'_>, columns: usize| -> Result<Vec<f32>> {
            let row_bytes = precision.bytes() * stride(columns);
            let mut all = room(operation, "rows", elements(stored.len(), columns))?;
            for (row, _) in &stored {
                let bytes = &encoded.rows[row * row_bytes..(row + 1) * row_bytes];
                decode_into(&mut all, bytes, columns, precision, encoded.scales[*row]);
            }
            Ok(all)
        };
        let keys = decoded(&rows.keys, self.layout.dim)?;
        let values = rows
            .values
            .as_ref()
            .zip(self.layout.value_dim)
            .map(|(rows, columns)| decoded(rows, columns))
            .transpose()?;
        let bias = rows.bias.as_ref().filter(|_| self.layout.bias);
        let bias = bias.map(|bias| stored.iter().map(|(row, _)| bias[*row]).collect());
        Ok((rows.count, Block { ids: stored.into_iter().map(|(_, id)| id).collect(), keys, values, bias }))
    }
}
