//! Stored rows as they lie in the windows, in and out, without passing through `f32`: what is loaded and saved.

use std::ops::Range;

use super::{Engine, RowBlock};
use crate::error::Result;
use crate::store::{EncodedRows, Layout};

impl RowBlock {
    /// Stores encoded rows from row `at` on.
    fn store_encoded(&mut self, at: usize, rows: &EncodedRows<'_>, layout: Layout) {
        self.keys.store_encoded(at, &rows.keys, layout.dim);
        if let (Some(to), Some(values), Some(columns)) = (&mut self.values, &rows.values, layout.value_dim) {
            to.store_encoded(at, values, columns);
        }
        match &rows.bias {
            Some(bias) => self.bias[at..at + rows.count].copy_from_slice(bias),
            None => self.bias[at..at + rows.count].fill(0.0),
        }
        self.measure(at, rows.count, layout);
    }
}

impl Engine {
    /// Stores encoded rows for which there is room.
    pub fn add_encoded(&mut self, rows: &EncodedRows<'_>) -> Result<()> {
        let layout = self.layout;
        self.windows.fill(rows.count, |block, at, range| {
            RowBlock::own("Memory::load", block, at, layout)?.store_encoded(at, &rows.slice(range, &layout), layout);
            Ok(())
        })
    }

    /// How many rows to ask [`Engine::stored`] for at a time: they are only borrowed.
    pub const PIECE: usize = 1 << 16;

    /// The first rows at `positions`, which are in use, as they are stored: as many as one window has.
    pub fn stored(&self, positions: Range<usize>) -> EncodedRows<'_> {
        let (block, at) = self.windows.row(positions.start);
        let here = self.windows.end(positions.start) - positions.start;
        let count = positions.len().min(here);
        EncodedRows {
            count,
            keys: block.keys.stored(at, count, self.layout.dim),
            values: block
                .values
                .as_ref()
                .zip(self.layout.value_dim)
                .map(|(rows, columns)| rows.stored(at, count, columns)),
            bias: Some((&block.bias[at..at + count]).into()),
        }
    }

    /// Forgets all rows but the first `rows`.
    #[cfg(feature = "files")]
    pub fn truncate(&mut self, rows: usize) {
        self.windows.truncate(rows);
    }

    /// Rows of each window that has some.
    pub fn window_rows(&self) -> Vec<usize> {
        self.windows.filled().map(|window| window.rows).collect()
    }
}
