//! Rows that are being stored, block by block, before any of them has an id.

use std::ops::Range;

use super::handle::Memory;
use crate::error::Result;
use crate::id::{PatternId, PatternIds};
use crate::store::{Growth, Layout, NewRows, Places};

/// Floats that are stored at a time.
const BLOCK: usize = 1 << 22;

/// Rows on their way into a memory. Until [`Insertion::commit`] they have no ids; dropped before, also by a panic of a
/// caller's callback, it leaves the memory as it was.
pub(super) struct Insertion<'m> {
    memory: &'m mut Memory,
    places: Places,
    /// Rows that were written.
    written: usize,
    committed: bool,
}

impl<'m> Insertion<'m> {
    /// Makes room for `rows` rows.
    ///
    /// # Errors
    /// Those of [`Memory::reserve`].
    pub fn new(operation: &'static str, memory: &'m mut Memory, rows: usize) -> Result<Self> {
        memory.engine.check_writable(operation)?;
        let places = memory.ids.places(rows, &memory.snapshots);
        memory.engine.reserve(places.fresh, Growth::Doubling)?;
        Ok(Self { memory, places, written: 0, committed: false })
    }

    #[cfg(feature = "files")]
    pub fn memory(&self) -> &Memory {
        self.memory
    }

    /// Writes the next `count` checked rows, the first of all to positions that were freed, the others behind all
    /// others.
    pub fn write(&mut self, rows: &NewRows<'_>, count: usize) -> Result<()> {
        let Layout { dim, value_dim, .. } = self.memory.layout;
        let freed = &self.places.freed[self.written.min(self.places.freed.len())..];
        let freed = &freed[..count.min(freed.len())];
        if !freed.is_empty() {
            self.memory.engine.overwrite(freed, &rows.slice(0..freed.len(), dim, value_dim))?;
        }
        if freed.len() < count {
            self.memory.engine.add(&rows.slice(freed.len()..count, dim, value_dim))?;
        }
        self.written += count;
        Ok(())
    }

    /// Replaces the patterns at `positions` by checked rows, once all others are written.
    pub fn overwrite(&mut self, positions: &[usize], rows: &NewRows<'_>) -> Result<()> {
        self.memory.engine.overwrite(positions, rows)
    }

    /// Gives ids to the first rows that were written, and lets the last of them, one each, be the patterns `moved`.
    pub fn commit(mut self, moved: &[PatternId]) -> PatternIds {
        debug_assert_eq!(self.written, self.places.freed.len() + self.places.fresh, "all rows are written");
        self.committed = true;
        let snapshots = self.memory.snapshots.clone();
        let new = self.written - moved.len();
        let last = self.places.freed.split_off(new.min(self.places.freed.len()));
        let places = Places { fresh: new - self.places.freed.len(), freed: std::mem::take(&mut self.places.freed) };
        let ids = self.memory.ids_mut();
        let added = ids.add(&places);
        for (i, id) in moved.iter().enumerate() {
            ids.relocate(*id, last.get(i).copied(), &snapshots);
        }
        added
    }
}

impl Drop for Insertion<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // What went to freed positions has no id, as before.
            self.memory.engine.truncate(self.memory.ids.positions());
        }
    }
}

/// `0..count` in blocks of rows whose longest part has `columns` floats.
pub(super) fn blocks(count: usize, columns: usize) -> impl Iterator<Item = Range<usize>> {
    pieces(count, (BLOCK / columns).max(1))
}

/// `0..count` in pieces of at most `size`.
pub(super) fn pieces(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |start| start..count.min(start.saturating_add(size)))
}
