//! A memory and the keys of its patterns: what is asked of them.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;

use super::entries::borrowed;
use super::index::{Index, check_distinct, duplicate};
use super::key::Key;
use crate::device::handle::Device;
use crate::error::{Error, Result};
use crate::id::PatternId;
use crate::mask::Mask;
use crate::memory::Memory;
use crate::room::no_room;
use crate::store::Pattern;

/// A memory each of whose patterns has a key of the caller's own, and may have metadata ([`keyed`](crate::keyed)).
///
/// Whatever adds, replaces or removes several entries does it for all of them or for none.
pub struct KeyedMemory<K: Key> {
    pub(super) memory: Memory,
    pub(super) index: Index<K>,
}

impl<K: Key> fmt::Debug for KeyedMemory<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedMemory").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl<K: Key> KeyedMemory<K> {
    /// A keyed memory without entries, around `memory`, which must be empty.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a memory with patterns, which [`KeyedMemory::from_memory`] takes.
    pub fn new(memory: Memory) -> Result<Self> {
        match memory.is_empty() {
            true => Ok(Self { memory, index: Index::default() }),
            false => Err(Error::Parameter {
                operation: "KeyedMemory::new",
                parameter: "memory",
                expected: "a memory without patterns",
                got: format!("{} patterns", memory.len()),
            }),
        }
    }

    /// A keyed memory of the patterns of `memory`, which get `keys` in the order of their positions
    /// ([`Memory::id_at`]): the order in which they were added, where none was removed.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of keys than patterns, and [`Error::DuplicateKey`]. `memory` is dropped
    /// then.
    pub fn from_memory<Q: Borrow<K::Ref>>(memory: Memory, keys: &[Q]) -> Result<Self> {
        const OPERATION: &str = "KeyedMemory::from_memory";
        if keys.len() != memory.len() {
            let expected = format!("{} keys, one for each pattern", memory.len());
            return Err(Error::Shape { operation: OPERATION, expected, got: keys.len().to_string() });
        }
        let keys = borrowed::<K, Q>(OPERATION, keys)?;
        check_distinct(OPERATION, &keys)?;
        let mut index = Index::default();
        index.try_reserve(OPERATION, keys.len(), 0)?;
        for (id, key) in ids(&memory).zip(keys) {
            index.insert(K::share(key), id, None);
        }
        Ok(Self { memory, index })
    }

    /// The memory, for everything that retrieves. Its patterns change through the keyed memory alone.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory without the keys.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// The same entries on `device` ([`Memory::rebuild`]).
    ///
    /// # Errors
    /// As [`Memory::rebuild`].
    pub fn rebuild(&self, device: &Device) -> Result<Self> {
        Ok(Self { memory: self.memory.rebuild(device)?, index: self.index.clone() })
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Whether `key` is stored.
    pub fn contains(&self, key: &K::Ref) -> bool {
        self.id_of(key).is_some()
    }

    /// The pattern of `key`.
    pub fn id_of(&self, key: &K::Ref) -> Option<PatternId> {
        self.index.id(key)
    }

    /// The key of a pattern that is stored.
    pub fn key_of(&self, id: PatternId) -> Option<&K::Ref> {
        self.index.key(id)
    }

    /// The pattern of `key` as it is stored ([`Memory::get`]).
    ///
    /// # Errors
    /// [`Error::UnknownKey`], and as [`Memory::get`].
    pub fn get(&self, key: &K::Ref) -> Result<Pattern> {
        const OPERATION: &str = "KeyedMemory::get";
        let id = self.index.known(OPERATION, key)?;
        self.memory.get(id).map_err(|error| error.named(OPERATION))
    }

    /// The metadata of `key`, as they were given; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::UnknownKey`].
    pub fn metadata(&self, key: &K::Ref) -> Result<Option<&str>> {
        Ok(self.index.metadata(self.index.known("KeyedMemory::metadata", key)?))
    }

    /// All keys, in the order of the positions of their patterns.
    pub fn keys(&self) -> impl Iterator<Item = &K::Ref> {
        ids(&self.memory).filter_map(|id| self.key_of(id))
    }

    /// A mask that keeps the patterns of `keys`; a key may be there more than once. As [`Memory::mask_where`], it is
    /// for the memory as it is now.
    ///
    /// # Errors
    /// [`Error::UnknownKey`].
    pub fn mask_of_keys<Q: Borrow<K::Ref>>(&self, keys: impl IntoIterator<Item = Q>) -> Result<Mask> {
        const OPERATION: &str = "KeyedMemory::mask_of_keys";
        let mut kept = HashSet::new();
        for key in keys {
            let id = self.index.known(OPERATION, key.borrow())?;
            kept.try_reserve(1).map_err(|_| no_room::<PatternId>(OPERATION, "keys", kept.len() + 1))?;
            kept.insert(id);
        }
        Ok(self.memory.mask_where(|id| kept.contains(&id)))
    }

    /// A mask that keeps the patterns for whose key and metadata `keep` holds. As [`Memory::mask_where`], it is for the
    /// memory as it is now.
    ///
    /// ```
    /// use attractor::keyed::{Entries, KeyedMemory};
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = KeyedMemory::<u64>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?)?;
    /// memory.add(Entries::new(&[1u64, 2, 3], &[1.0, 0.0, 0.9, 0.1, 0.0, 1.0]))?;
    /// let odd = memory.mask_where(|key, _metadata| key % 2 == 1);
    /// let found = memory.memory().retrieve_blocking(&[0.9, 0.2], &RetrieveOptions::default().mask(odd).top(3))?;
    /// let ids = found.top.expect("asked for").ids;
    /// assert_eq!(ids.iter().flatten().filter_map(|id| memory.key_of(*id)).collect::<Vec<_>>(), [&1, &3]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn mask_where(&self, mut keep: impl FnMut(&K::Ref, Option<&str>) -> bool) -> Mask {
        self.memory.mask_where(|id| self.key_of(id).is_some_and(|key| keep(key, self.index.metadata(id))))
    }

    /// The ids of `keys`, which must be stored and differ.
    pub(super) fn ids_of(&self, operation: &'static str, keys: &[&K::Ref]) -> Result<Vec<PatternId>> {
        check_distinct(operation, keys)?;
        let mut ids = crate::room::room(operation, "ids", keys.len())?;
        for key in keys {
            ids.push(self.index.known(operation, key)?);
        }
        Ok(ids)
    }

    /// Refuses a key that is stored.
    pub(super) fn check_new(&self, operation: &'static str, key: &K::Ref) -> Result<()> {
        match self.contains(key) {
            true => Err(duplicate(operation, key, "is stored already".into())),
            false => Ok(()),
        }
    }
}

/// The ids of all patterns, by position.
pub(super) fn ids(memory: &Memory) -> impl Iterator<Item = PatternId> {
    (0..memory.position_count()).filter_map(|position| memory.id_at(position))
}
