//! Patterns stored, replaced and removed.

use std::ops::ControlFlow;

use super::handle::Memory;
use crate::error::{Error, Result};
use crate::finite::{check_bipolar, check_finite};
use crate::fork;
use crate::id::{PatternId, PatternIds};
use crate::patterns::{Patterns, rows};
use crate::precision::Precision;
use crate::progress::{Progress, proceed};
use crate::store::{Growth, Ids, NewRows, check_halves};

impl Memory {
    /// Makes room for `additional` patterns, in as few windows as the limits allow.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the host or the device has no room, [`Error::Limit`] for more than the limits of
    /// the device allow, [`Error::DeviceLost`]; nothing has changed then. On the CPU engine room takes no memory until
    /// patterns are stored in it.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        self.engine.check_writable("Memory::reserve")?;
        let fresh = self.ids.fresh(additional, &self.snapshots);
        self.engine.reserve(fresh, Growth::Doubling).map_err(|error| error.named("Memory::reserve"))
    }

    /// Forgets every pattern and keeps the room. Ids are not used again.
    pub fn clear(&mut self) {
        self.ids_mut().clear();
        self.engine.clear(self.snapshots.any());
    }

    /// The ids, to be changed.
    pub(super) fn ids_mut(&mut self) -> &mut Ids {
        self.engine.invalidate_live_mask();
        &mut self.ids
    }

    /// Stores patterns, and gives them ids.
    ///
    /// A slice of floats is the rows of keys that are their own values; [`Patterns`] may have values and a bias.
    ///
    /// ```
    /// use attractor::{Device, Memory, MemoryOptions, Patterns, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// assert_eq!(memory.add(&[1.0, 0.0, 0.0, 1.0])?.len(), 2);
    ///
    /// let mut biased = MemoryOptions::new(2, Rule::softmax(1.0)).bias().build(&Device::cpu())?;
    /// biased.add(Patterns::new(&[1.0, 0.0, 0.0, 1.0]).bias(&[0.0, 2.0]))?;
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole rows or disagree, and for values or a bias that the memory was
    /// not built for; [`Error::NotFinite`]; [`Error::Range`] for a row that halves cannot hold
    /// ([`MemoryOptions::saturate`](crate::MemoryOptions::saturate)); the errors of [`Memory::reserve`];
    /// [`Error::DeviceLost`] where the device is gone. The memory is then as it was.
    pub fn add<'p>(&mut self, patterns: impl Into<Patterns<'p>>) -> Result<PatternIds> {
        self.add_with_progress(patterns, proceed)
    }

    /// [`Memory::add`], telling `progress` after each block of patterns how many are stored.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use attractor::{Device, Error, Memory, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// let cancelled = memory.add_with_progress(&[0.5; 1000 * 2], |_| ControlFlow::Break(()));
    /// assert!(matches!(cancelled, Err(Error::Cancelled { .. })) && memory.is_empty());
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Cancelled`] where `progress` returns [`ControlFlow::Break`], and as [`Memory::add`]. The memory is then
    /// as it was.
    pub fn add_with_progress<'p>(
        &mut self,
        patterns: impl Into<Patterns<'p>>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<PatternIds> {
        const OPERATION: &str = "Memory::add";
        let (rows, new) = self.checked(OPERATION, patterns.into())?;
        self.store(OPERATION, rows, &new, &[], progress)
    }

    /// The number of patterns and their rows, if they are what this memory stores.
    pub(super) fn checked<'p>(&self, operation: &'static str, patterns: Patterns<'p>) -> Result<(usize, NewRows<'p>)> {
        let shape = |expected: String, got: String| Err(Error::Shape { operation, expected, got });
        fork::check(operation)?;
        let Patterns { keys, values, bias } = patterns;
        let rows = rows(operation, "keys", keys, self.layout.dim)?;
        match (values, self.layout.value_dim) {
            (None, None) => {}
            (Some(values), Some(columns)) if rows.checked_mul(columns) == Some(values.len()) => {
                check_finite(operation, "values", values, columns)?;
            }
            (Some(values), Some(columns)) => {
                let floats = rows as u128 * columns as u128;
                let expected = format!("values of {rows} x {columns} = {floats} floats");
                return shape(expected, format!("{} floats", values.len()));
            }
            (None, Some(columns)) => {
                return shape(format!("keys with values of {columns} dimensions"), "keys alone".into());
            }
            (Some(_), None) => {
                let expected = "keys alone: this memory was created without a value dimension".into();
                return shape(expected, "keys with values".into());
            }
        }
        match bias {
            None => {}
            Some(_) if !self.layout.bias => {
                let expected = "no bias: this memory was built without (MemoryOptions::bias)".into();
                return shape(expected, "a bias".into());
            }
            Some(bias) if bias.len() == rows => check_finite(operation, "bias", bias, 1)?,
            Some(bias) => return shape(format!("a bias of {rows} floats"), format!("{} floats", bias.len())),
        }
        check_finite(operation, "keys", keys, self.layout.dim)?;
        let new = NewRows { keys, values, bias };
        self.check_range(operation, &new, 0)?;
        Ok((rows, new))
    }

    /// Refuses finite rows that the precision cannot hold, and keys that are not bipolar where the rule takes
    /// self-couplings away; `first` is the row of the input that they begin with.
    pub(super) fn check_range(&self, operation: &'static str, rows: &NewRows<'_>, first: usize) -> Result<()> {
        if self.rule.update.remove_self {
            check_bipolar(operation, "keys", rows.keys, self.layout.dim, first)?;
        }
        if self.layout.precision != Precision::F16 || self.options.saturate {
            return Ok(());
        }
        check_halves(operation, "keys", rows.keys, self.layout.dim, first)?;
        match (rows.values, self.layout.value_dim) {
            (Some(values), Some(columns)) => check_halves(operation, "values", values, columns, first),
            _ => Ok(()),
        }
    }

    /// Replaces the pattern `id` by the one row of `pattern`; the id stays. So does its position, unless a recording or
    /// a job is under way, which goes on with the pattern as it was.
    ///
    /// # Errors
    /// [`Error::UnknownId`], [`Error::Shape`] for anything but one row, and as [`Memory::add`]. The memory is
    /// then as it was.
    pub fn update<'p>(&mut self, id: PatternId, pattern: impl Into<Patterns<'p>>) -> Result<()> {
        self.replace("Memory::update", &[id], pattern.into())
    }

    /// Forgets the pattern `id`. Its room is used again by a later `add`, its id is not.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove(&mut self, id: PatternId) -> Result<()> {
        let snapshots = self.snapshots.clone();
        self.ids_mut().remove(id, &snapshots).map(|_| ()).ok_or(Error::UnknownId { operation: "Memory::remove", id })
    }
}
