//! Entries added, replaced and removed.

use std::borrow::Borrow;
use std::ops::ControlFlow;

use super::entries::{Entries, borrowed};
use super::handle::KeyedMemory;
use super::index::check_distinct;
use super::key::Key;
#[cfg(feature = "files")]
use super::metadata::checked_text;
use super::metadata::checked_texts;
use crate::error::Result;
use crate::id::PatternId;
use crate::progress::{Progress, proceed};
use crate::room::room;

/// Which keys a call takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    New,
    Stored,
    Either,
}

impl<K: Key> KeyedMemory<K> {
    /// Makes room for `additional` entries ([`Memory::reserve`](crate::Memory::reserve)).
    ///
    /// # Errors
    /// As [`Memory::reserve`](crate::Memory::reserve).
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        const OPERATION: &str = "KeyedMemory::reserve";
        self.index.try_reserve(OPERATION, additional, 0)?;
        self.memory.reserve(additional).map_err(|error| error.named(OPERATION))
    }

    /// Stores entries under keys that are not stored.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`](crate::Error::DuplicateKey) for a key that is stored, or is there twice;
    /// [`Error::Shape`](crate::Error::Shape) for another number of patterns, or of metadata, than keys;
    /// [`Error::Parameter`](crate::Error::Parameter) for metadata that are no JSON; and as
    /// [`Memory::add`](crate::Memory::add). The memory is then as it was.
    pub fn add<Q: Borrow<K::Ref>>(&mut self, entries: Entries<'_, Q>) -> Result<()> {
        self.add_with_progress(entries, proceed)
    }

    /// [`KeyedMemory::add`], telling `progress` after each block of entries how many are stored.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`KeyedMemory::add`]. The memory is then as it was.
    pub fn add_with_progress<Q: Borrow<K::Ref>>(
        &mut self,
        entries: Entries<'_, Q>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        self.store("KeyedMemory::add", Takes::New, entries, progress).map(|_| ())
    }

    /// Replaces the patterns of keys that are stored. Their metadata, too, if the entries have metadata: an entry with
    /// `None` has none then.
    ///
    /// # Errors
    /// [`Error::UnknownKey`](crate::Error::UnknownKey) for a key that is not stored, and otherwise as
    /// [`KeyedMemory::add`]. The memory is then as it was, but where the device fails
    /// ([`Memory::update_batch`](crate::Memory::update_batch)).
    pub fn update<Q: Borrow<K::Ref>>(&mut self, entries: Entries<'_, Q>) -> Result<()> {
        self.store("KeyedMemory::update", Takes::Stored, entries, proceed).map(|_| ())
    }

    /// Replaces the entries whose keys are stored, as [`KeyedMemory::update`], and adds the others. Returns how many
    /// were added.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`](crate::Error::DuplicateKey) for a key that is there twice, and otherwise as
    /// [`KeyedMemory::update`].
    pub fn upsert<Q: Borrow<K::Ref>>(&mut self, entries: Entries<'_, Q>) -> Result<usize> {
        self.upsert_with_progress(entries, proceed)
    }

    /// [`KeyedMemory::upsert`], telling `progress` after each block of entries how many are stored.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`KeyedMemory::upsert`]. The memory is then as it was.
    pub fn upsert_with_progress<Q: Borrow<K::Ref>>(
        &mut self,
        entries: Entries<'_, Q>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<usize> {
        self.store("KeyedMemory::upsert", Takes::Either, entries, progress)
    }

    /// Forgets entries.
    ///
    /// # Errors
    /// [`Error::UnknownKey`](crate::Error::UnknownKey), and [`Error::DuplicateKey`](crate::Error::DuplicateKey) for a
    /// key that is there twice. The memory is then as it was.
    pub fn remove<Q: Borrow<K::Ref>>(&mut self, keys: &[Q]) -> Result<()> {
        const OPERATION: &str = "KeyedMemory::remove";
        let ids = self.ids_of(OPERATION, &borrowed::<K, Q>(OPERATION, keys)?)?;
        self.index.unshared(OPERATION)?;
        self.memory.remove_batch(&ids).map_err(|error| error.named(OPERATION))?;
        for id in ids {
            self.index.remove(id);
        }
        Ok(())
    }

    /// Forgets all entries and keeps the room.
    pub fn clear(&mut self) {
        self.memory.clear();
        self.index = Default::default();
    }

    /// Replaces the metadata of `key`: JSON, which is kept as it is, or none.
    ///
    /// # Errors
    /// [`Error::UnknownKey`](crate::Error::UnknownKey), and [`Error::Parameter`](crate::Error::Parameter) for metadata
    /// that are no JSON. The memory is then as it was.
    #[cfg(feature = "files")]
    pub fn set_metadata(&mut self, key: &K::Ref, metadata: Option<&str>) -> Result<()> {
        const OPERATION: &str = "KeyedMemory::set_metadata";
        let id = self.index.known(OPERATION, key)?;
        self.index.set_metadata(id, checked_text(OPERATION, 0, metadata)?);
        Ok(())
    }

    /// Returns how many entries are new.
    #[allow(clippy::needless_pass_by_value, reason = "entries are a few references, as callers build them in the call")]
    fn store<Q: Borrow<K::Ref>>(
        &mut self,
        operation: &'static str,
        takes: Takes,
        entries: Entries<'_, Q>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<usize> {
        let Entries { keys, patterns, metadata } = entries;
        let keys = borrowed::<K, Q>(operation, keys)?;
        let rows = keys.len();
        check_distinct(operation, &keys)?;
        let mut replaced: Vec<(usize, PatternId)> = room(operation, "ids", rows)?;
        for (row, key) in keys.iter().enumerate() {
            match takes {
                Takes::New => self.check_new(operation, key)?,
                Takes::Stored => replaced.push((row, self.index.known(operation, key)?)),
                Takes::Either => replaced.extend(self.id_of(key).map(|id| (row, id))),
            }
        }
        let new = self.memory.checked_batch(operation, patterns, rows)?;
        let mut metadata = checked_texts(operation, metadata, rows)?;
        let new_keys = rows - replaced.len();
        let described = metadata.as_ref().map_or(0, |texts| texts.iter().flatten().count());
        self.index.try_reserve(operation, new_keys, described)?;
        let mut added = self.memory.store(operation, rows, &new, &replaced, progress)?.iter();
        let mut replaced = replaced.into_iter().peekable();
        for (row, key) in keys.into_iter().enumerate() {
            let text = metadata.as_mut().map(|metadata| metadata[row].take());
            match replaced.next_if(|(replaces, _)| *replaces == row) {
                Some((_, id)) => {
                    if let Some(text) = text {
                        self.index.set_metadata(id, text);
                    }
                }
                None => {
                    if let Some(id) = added.next() {
                        self.index.insert(K::share(key), id, text.flatten());
                    }
                }
            }
        }
        Ok(new_keys)
    }
}
