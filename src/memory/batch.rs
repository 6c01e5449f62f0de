//! Many patterns stored, replaced or removed at once: all of them or none.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::handle::Memory;
use super::insertion::{Insertion, blocks};
use crate::error::{Error, Result};
use crate::id::{PatternId, PatternIds};
use crate::patterns::Patterns;
use crate::progress::{Progress, Reporter, proceed};
use crate::room::{collect, elements, no_room, room};
use crate::store::{Layout, NewRows};

impl Memory {
    /// Replaces the patterns `ids` by the rows of `patterns`, one each; the ids stay ([`Memory::update`]).
    ///
    /// ```
    /// use attractor::{Device, Memory, PatternId, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])?;
    /// memory.update_batch(&[PatternId(2), PatternId(0)], &[3.0, 3.0, 7.0, 7.0])?;
    /// assert_eq!(memory.get(PatternId(0))?.key, [7.0, 7.0]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::Parameter`] for an id that is there twice; [`Error::Shape`] for another number of
    /// rows than ids; and as [`Memory::add`]. The memory is then as it was. Only where the device itself fails in the
    /// middle ([`Error::DeviceLost`], or [`Error::OutOfMemory`] of the device) may it have some of the rows; the
    /// [host copy](crate::MemoryOptions::host_copy) has none of them.
    pub fn update_batch<'p>(&mut self, ids: &[PatternId], patterns: impl Into<Patterns<'p>>) -> Result<()> {
        self.replace("Memory::update_batch", ids, patterns.into())
    }

    /// Forgets the patterns `ids` ([`Memory::remove`]).
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::Parameter`] for an id that is there twice. The memory is then as it was.
    pub fn remove_batch(&mut self, ids: &[PatternId]) -> Result<()> {
        self.check_ids("Memory::remove_batch", ids)?;
        let snapshots = self.snapshots.clone();
        let all = self.ids_mut();
        for id in ids {
            all.remove(*id, &snapshots);
        }
        Ok(())
    }

    pub(super) fn replace(&mut self, operation: &'static str, ids: &[PatternId], patterns: Patterns<'_>) -> Result<()> {
        self.check_ids(operation, ids)?;
        let new = self.checked_batch(operation, patterns, ids.len())?;
        let replaced = collect(operation, "ids", ids.iter().copied().enumerate())?;
        self.store(operation, ids.len(), &new, &replaced, proceed).map(|_| ())
    }

    /// Refuses ids that are not stored, and one that is there twice.
    fn check_ids(&self, operation: &'static str, ids: &[PatternId]) -> Result<()> {
        let mut seen = HashMap::new();
        seen.try_reserve(ids.len()).map_err(|_| no_room::<(PatternId, usize)>(operation, "ids", ids.len()))?;
        for (at, id) in ids.iter().enumerate() {
            self.position(operation, *id)?;
            if let Some(first) = seen.insert(*id, at) {
                let got = format!("{} at {first} and at {at}", id.0);
                return Err(Error::Parameter { operation, parameter: "ids", expected: "each id once", got });
            }
        }
        Ok(())
    }

    /// The rows of `count` patterns, if they are what this memory stores.
    pub(crate) fn checked_batch<'p>(
        &self,
        operation: &'static str,
        patterns: Patterns<'p>,
        count: usize,
    ) -> Result<NewRows<'p>> {
        let (rows, new) = self.checked(operation, patterns)?;
        if rows == count {
            return Ok(new);
        }
        let patterns = |count: usize| format!("{count} pattern{}", if count == 1 { "" } else { "s" });
        Err(Error::Shape { operation, expected: patterns(count), got: patterns(rows) })
    }

    /// Stores `rows` checked rows: those that `replaced` lists, by rising row, in place of the patterns that it names,
    /// which are stored and differ; all others as new patterns, whose ids are returned.
    ///
    /// # Errors
    /// Those of [`Memory::reserve`], [`Error::Cancelled`], and what the device says; the memory is then as it was, but
    /// as in [`Memory::update_batch`].
    pub(crate) fn store(
        &mut self,
        operation: &'static str,
        rows: usize,
        new: &NewRows<'_>,
        replaced: &[(usize, PatternId)],
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<PatternIds> {
        self.store_rows(operation, rows, new, replaced, progress).map_err(|error| error.named(operation))
    }

    fn store_rows(
        &mut self,
        operation: &'static str,
        rows: usize,
        new: &NewRows<'_>,
        replaced: &[(usize, PatternId)],
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<PatternIds> {
        let Layout { dim, value_dim, .. } = self.layout;
        let mut reporter = Reporter::new(operation, rows, progress);
        let added = rows - replaced.len();
        let gathered;
        let new = match added == 0 || replaced.is_empty() {
            true => *new,
            false => {
                gathered = Gathered::new(operation, new, &self.layout, &order(operation, rows, replaced)?)?;
                gathered.rows()
            }
        };
        // What a snapshot sees is not overwritten: the patterns move.
        let moves = self.snapshots.any();
        let written = if moves { rows } else { added };
        let ids = collect(operation, "ids", replaced.iter().map(|(_, id)| *id))?;
        let mut positions = room(operation, "positions", ids.len())?;
        for id in &ids {
            positions.push(self.position(operation, *id)?);
        }
        let mut insertion = Insertion::new(operation, self, written)?;
        for block in blocks(written, dim.max(value_dim.unwrap_or(0))) {
            insertion.write(&new.slice(block.clone(), dim, value_dim), block.len())?;
            reporter.report(block.end)?;
        }
        if !moves && !ids.is_empty() {
            // From here on nothing can be cancelled.
            reporter.report(rows)?;
            insertion.overwrite(&positions, &new.slice(added..rows, dim, value_dim))?;
        }
        Ok(insertion.commit(if moves { &ids } else { &[] }))
    }
}

/// The rows that are new, then those that replace patterns.
fn order(operation: &'static str, rows: usize, replaced: &[(usize, PatternId)]) -> Result<Vec<usize>> {
    let mut order = room(operation, "rows", rows)?;
    let mut next = replaced.iter().map(|(row, _)| *row).peekable();
    order.extend((0..rows).filter(|row| next.next_if_eq(row).is_none()));
    order.extend(replaced.iter().map(|(row, _)| *row));
    Ok(order)
}

/// Rows in another order.
struct Gathered {
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
}

impl Gathered {
    fn new(operation: &'static str, from: &NewRows<'_>, layout: &Layout, order: &[usize]) -> Result<Self> {
        let gather = |from: &[f32], columns: usize| -> Result<Vec<f32>> {
            let mut to = room(operation, "rows", elements(order.len(), columns))?;
            for row in order {
                to.extend_from_slice(&from[row * columns..(row + 1) * columns]);
            }
            Ok(to)
        };
        Ok(Self {
            keys: gather(from.keys, layout.dim)?,
            values: from.values.map(|values| gather(values, layout.output_dim())).transpose()?,
            bias: from.bias.map(|bias| gather(bias, 1)).transpose()?,
        })
    }

    fn rows(&self) -> NewRows<'_> {
        NewRows { keys: &self.keys, values: self.values.as_deref(), bias: self.bias.as_deref() }
    }
}
