//! The CPU engine's memory: patterns in windows of host memory or in a file, written, read and shared with retrievals
//! that run.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::row_block::RowBlock;
use crate::cpu::rows::Rows;
use crate::error::Result;
use crate::rule::Rule;
use crate::store::{EncodedRows, Growth, HostRows, Layout, NewRows, Pattern, RowSources, Windows, stride};

/// Patterns in host memory. A clone shares the blocks of rows: a running retrieval has one, and a block that is shared
/// is copied before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(super) layout: Layout,
    pub(super) rule: Rule,
    pub(super) windows: Windows<Arc<RowBlock>>,
    /// Where the rows of the windows are, if not in the windows. They are only read then.
    pub(super) sources: Option<RowSources>,
}

impl Engine {
    pub fn new(layout: Layout, rule: Rule) -> Self {
        Self { layout, rule, windows: Windows::new(layout.max_rows), sources: None }
    }

    /// An engine whose windows have the rows of `sources`, in order, once they are stored.
    pub fn sourced(layout: Layout, rule: Rule, sources: RowSources) -> Self {
        Self { sources: Some(sources), ..Self::new(layout, rule) }
    }

    /// Where the rows are, if not in the windows.
    pub fn sources(&self) -> Option<RowSources> {
        self.sources.clone()
    }

    /// Whether rows are elsewhere, and only read.
    pub fn is_sourced(&self) -> bool {
        self.sources.is_some()
    }

    /// Refuses answers from rows that could not be read, or that have changed.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File).
    pub fn check_rows(&self, operation: &'static str) -> Result<()> {
        self.sources.as_ref().map_or(Ok(()), |sources| sources.check(operation))
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    pub fn clear(&mut self) {
        match self.sources.take() {
            None => self.windows.clear(),
            // The room of a file is not written to.
            Some(_) => self.windows.drop_all(),
        }
    }

    pub fn reserve(&mut self, additional: usize, growth: Growth) -> Result<()> {
        let (layout, similarity) = (self.layout, self.rule.similarity);
        let Self { windows, sources, .. } = self;
        let mut first = windows.capacity();
        windows.reserve(additional, growth, |rows| {
            const OPERATION: &str = "Memory::reserve";
            let block = match sources {
                None => RowBlock::allocate(OPERATION, rows, layout, similarity)?,
                Some(sources) => RowBlock::sourced(OPERATION, rows, layout, similarity, (sources, first))?,
            };
            first += rows;
            Ok(Arc::new(block))
        })
    }

    /// Stores rows whose shapes and finiteness have been checked and for which room is reserved.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        let layout = self.layout;
        self.windows.fill(rows.keys.len() / layout.dim, |block, at, range| {
            let part = rows.slice(range, layout.dim, layout.value_dim);
            RowBlock::own("Memory::add", block, at, layout)?.store(at, &part, layout);
            Ok(())
        })
    }

    /// The block that has `position`, which is in use, to be written to, and the row within it.
    fn block_mut(&mut self, position: usize) -> Result<(&mut RowBlock, usize)> {
        let end = self.windows.end(position);
        let (block, at) = self.windows.row_mut(position);
        Ok((RowBlock::own("Memory::update", block, end - (position - at), self.layout)?, at))
    }

    /// Copies the blocks that have `positions` and are shared: the next [`Engine::overwrite`] there cannot fail.
    pub fn own(&mut self, positions: &[usize]) -> Result<()> {
        positions.iter().try_for_each(|position| self.block_mut(*position).map(|_| ()))
    }

    /// Replaces the patterns at `positions`, which are in use, by checked rows, one each. On an error nothing changes.
    pub fn overwrite(&mut self, positions: &[usize], rows: &NewRows<'_>) -> Result<()> {
        self.own(positions)?;
        let layout = self.layout;
        for (i, position) in positions.iter().enumerate() {
            let (block, at) = self.block_mut(*position)?;
            block.store(at, &rows.slice(i..i + 1, layout.dim, layout.value_dim), layout);
        }
        Ok(())
    }

    /// The pattern at `position`, which is stored, as rounded by its precision.
    ///
    /// # Errors
    /// Those of [`Engine::check_rows`].
    pub fn read(&self, operation: &'static str, position: usize) -> Result<Pattern> {
        let (block, at) = self.windows.row(position);
        let mut scratch = Vec::new();
        let mut row = |rows: &Rows, columns: usize| rows.load(at, 1, stride(columns), &mut scratch)[..columns].to_vec();
        let pattern = Pattern {
            key: row(&block.keys, self.layout.dim),
            value: block.values.as_ref().zip(self.layout.value_dim).map(|(values, columns)| row(values, columns)),
            bias: block.bias[at],
        };
        self.check_rows(operation)?;
        Ok(pattern)
    }

    /// Stores encoded rows for which room is reserved.
    pub fn add_encoded(&mut self, rows: &EncodedRows<'_>) -> Result<()> {
        let layout = self.layout;
        self.windows.fill(rows.count, |block, at, range| {
            RowBlock::own("Memory::load", block, at, layout)?.store_encoded(at, &rows.slice(range, &layout), layout);
            Ok(())
        })
    }

    /// Rows to ask [`Engine::stored`] for at a time: many where they are only borrowed.
    pub fn piece(&self) -> usize {
        const BORROWED: usize = 1 << 16;
        const BYTES: usize = 16 << 20;
        let Layout { precision, .. } = self.layout;
        let row = precision.bytes() * (self.layout.key_stride() + self.layout.value_stride());
        if self.is_sourced() { (BYTES / row).clamp(1, BORROWED) } else { BORROWED }
    }

    /// The encoded rows at `positions`, which are in use, up to the end of their window.
    ///
    /// # Errors
    /// Those of [`Engine::check_rows`].
    pub fn stored(&self, operation: &'static str, positions: Range<usize>) -> Result<EncodedRows<'_>> {
        let (block, at) = self.windows.row(positions.start);
        let here = self.windows.end(positions.start) - positions.start;
        let count = positions.len().min(here);
        let rows = EncodedRows {
            count,
            keys: block.keys.stored(at, count, self.layout.dim),
            values: block
                .values
                .as_ref()
                .zip(self.layout.value_dim)
                .map(|(rows, columns)| rows.stored(at, count, columns)),
            bias: Some((&block.bias[at..at + count]).into()),
        };
        self.check_rows(operation)?;
        Ok(rows)
    }

    /// Removes all rows but the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        self.windows.truncate(rows);
    }

    /// The number of rows of each window that is not empty.
    pub fn window_rows(&self) -> Vec<usize> {
        self.windows.filled().map(|window| window.rows).collect()
    }
}

impl HostRows for Engine {
    fn encoded(&self, operation: &'static str, positions: Range<usize>) -> Result<EncodedRows<'_>> {
        let end = positions.end.min(positions.start.saturating_add(self.piece()));
        self.stored(operation, positions.start..end)
    }

    fn pattern(&self, operation: &'static str, position: usize) -> Result<Pattern> {
        self.read(operation, position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;

    #[test]
    fn rows_are_read_back_and_overwritten_in_any_window() {
        for precision in Precision::ALL {
            let layout = Layout { dim: 3, value_dim: Some(2), precision, bias: true, max_rows: 4 };
            let mut engine = Engine::new(layout, Rule::softmax(1.0));
            let keys: Vec<f32> = (0..30).map(|i| i as f32).collect();
            let values: Vec<f32> = (0..20).map(|i| -(i as f32)).collect();
            let bias: Vec<f32> = (0..10).map(|i| i as f32 / 2.0).collect();
            engine.reserve(10, Growth::Doubling).unwrap();
            engine.add(&NewRows { keys: &keys, values: Some(&values), bias: Some(&bias) }).unwrap();
            let row = engine.read("test", 9).unwrap();
            assert_eq!((row.bias, row.key[2]), (4.5, 29.0));
            assert!((row.value.unwrap()[0] + 18.0).abs() < 0.2);
            let row = NewRows { keys: &[1.0, 0.0, -1.0], values: Some(&[2.0, 2.0]), bias: None };
            // A clone keeps the patterns of its time.
            let read = |engine: &Engine, position| engine.read("test", position).unwrap();
            let (before, held) = (read(&engine, 5), engine.clone());
            engine.overwrite(&[5], &row).unwrap();
            assert_eq!(read(&held, 5), before, "{precision:?}");
            let expected = Pattern { key: vec![1.0, 0.0, -1.0], value: Some(vec![2.0, 2.0]), bias: 0.0 };
            assert_eq!(read(&engine, 5), expected, "{precision:?}");
            assert_eq!(read(&engine, 4).bias, 2.0, "its neighbour is unchanged");
            assert_eq!(read(&engine, 6).bias, 3.0);
        }
    }
}
