//! Stored rows in and out in the memory's precision, without a conversion to `f32`: for loading and saving.

use std::borrow::Cow;
use std::ops::Range;

use super::engine::Engine;
use super::range::unshared;
use super::read::MAX_PIECE_BYTES;
use crate::error::Result;
use crate::room::{collect, copy, numbers};
use crate::store::{Encoded, EncodedRows};

impl Engine {
    /// Stores encoded rows for which there is room.
    pub fn add_encoded(&mut self, rows: &EncodedRows<'_>) -> Result<()> {
        let Self { context, layout, rule, windows, magnitudes, .. } = self;
        let magnitudes = unshared("Memory::load", magnitudes)?;
        magnitudes.try_reserve("Memory::load", rows.count, layout)?;
        let filled = windows.fill(rows.count, |window, at, range| {
            magnitudes.add(context.write_encoded(window, at, &rows.slice(range, layout), layout, *rule)?);
            Ok(())
        });
        magnitudes.truncate(windows.len());
        filled?;
        // Otherwise the writes of a whole file would be staged until the first retrieval.
        context.flush()
    }

    /// How many rows [`Engine::stored`] should be asked for at a time.
    pub fn piece(&self) -> usize {
        (MAX_PIECE_BYTES / self.row_sizes().iter().sum::<usize>()).max(1)
    }

    /// The rows at `positions`, which are in use, as they are stored. Blocks this thread until they are read back.
    pub fn stored(&self, positions: Range<usize>) -> Result<EncodedRows<'_>> {
        let count = positions.len();
        let [key, value, term] = self.row_sizes();
        let bytes = self.stage(&positions.collect::<Vec<_>>())?.wait()?;
        let (keys, rest) = bytes.split_at(count * key);
        let (values, rest) = rest.split_at(count * value);
        let terms = numbers::<[f32; 4]>("read", "row terms", &rest[..count * term])?;
        // Rows without terms have scales of 1 and biases of 0.
        let words = |word: usize, otherwise: f32| -> Result<Cow<'static, [f32]>> {
            let words = (0..count).map(|row| terms.get(row).map_or(otherwise, |terms| terms[word]));
            Ok(collect("read", "row terms", words)?.into())
        };
        let encoded = |rows: &[u8], scale| -> Result<Encoded<'static>> {
            Ok(Encoded { rows: copy("read", "rows", rows)?.into(), scales: words(scale, 1.0)? })
        };
        Ok(EncodedRows {
            count,
            keys: encoded(keys, 2)?,
            values: self.layout.value_dim.map(|_| encoded(values, 3)).transpose()?,
            bias: Some(words(1, 0.0)?),
        })
    }

    /// Forgets all rows but the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        self.windows.truncate(rows);
        // Rows that are cut off were added by the same call, to magnitudes that it does not share.
        if let Some(magnitudes) = std::sync::Arc::get_mut(&mut self.magnitudes) {
            magnitudes.truncate(rows);
        }
    }

    /// The number of rows of each window that holds any.
    pub fn window_rows(&self) -> Vec<usize> {
        self.windows.filled().map(|window| window.rows).collect()
    }
}
