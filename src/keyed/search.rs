//! Searches that find keys.

use std::borrow::Borrow;

use super::handle::KeyedMemory;
use super::index::Keys;
use super::key::Key;
use crate::error::Result;
use crate::pending::Pending;
use crate::room::collect;
use crate::search::{Hits, SearchOptions};

/// The nearest entries of each query of a batch: their keys, and what [`Memory::search`](crate::Memory::search) finds
/// of their patterns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KeyedHits<K: Key> {
    /// The patterns and their similarities.
    pub hits: Hits,
    /// The keys, one for each place of [`Hits::ids`].
    keys: Vec<Option<K::Shared>>,
}

impl<K: Key> KeyedHits<K> {
    fn new(operation: &'static str, hits: Hits, keys: &Keys<K>) -> Result<Self> {
        let found = hits.ids.iter().map(|id| keys.get(&(*id)?).cloned());
        Ok(Self { keys: collect(operation, "keys", found)?, hits })
    }

    /// The keys, `B x k`, nearest first, as the search saw the memory. `None` where there are fewer hits.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Option<&K::Ref>> {
        self.keys.iter().map(|key| key.as_ref().map(Borrow::borrow))
    }

    /// The hits of query `b`, nearest first: keys and similarities.
    ///
    /// # Panics
    /// If `b` is not below [`Hits::batch`].
    pub fn of(&self, b: usize) -> impl Iterator<Item = (&K::Ref, f32)> {
        let Hits { batch, k, similarity, .. } = &self.hits;
        assert!(b < *batch, "query {b} of {batch}");
        let row = b * k..(b + 1) * k;
        let hits = self.keys[row.clone()].iter().zip(&similarity[row]);
        hits.filter_map(|(key, similarity)| Some((key.as_ref()?.borrow(), *similarity)))
    }
}

impl<K: Key> KeyedMemory<K> {
    /// Finds the entries nearest to each row of `queries` (`B x d`), as [`Memory::search`](crate::Memory::search)
    /// finds patterns: their keys and similarities. [`KeyedMemory::mask_of_keys`] and [`KeyedMemory::mask_where`] make
    /// masks that search some of the entries. The keys are those of now, whatever is added or removed before the answer
    /// is taken; while it is not, the first change that adds or removes keys copies them.
    ///
    /// ```
    /// use attractor::keyed::{Entries, KeyedMemory};
    /// use attractor::{Device, Memory, Rule};
    /// let mut memory = KeyedMemory::<String>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?)?;
    /// memory.add(Entries::new(&["east", "north"], &[1.0, 0.0, 0.0, 1.0]))?;
    /// let pending = memory.search(&[0.8, 0.3], 1)?;
    /// memory.remove(&["east"])?;
    /// let found = pending.wait()?;
    /// assert_eq!(found.of(0).collect::<Vec<_>>(), [("east", 0.8)]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Memory::search`](crate::Memory::search) and its answer.
    pub fn search(&self, queries: &[f32], options: impl Into<SearchOptions>) -> Result<Pending<KeyedHits<K>>> {
        const OPERATION: &str = "KeyedMemory::search";
        let keys = self.index.keys();
        let pending = self.memory.search(queries, options).map_err(|error| error.named(OPERATION))?;
        Ok(pending.map(move |hits| {
            let hits = hits.map_err(|error| error.named(OPERATION))?;
            KeyedHits::new(OPERATION, hits, &keys)
        }))
    }

    /// [`KeyedMemory::search`] on this thread, until the answer is computed.
    ///
    /// # Errors
    /// As [`Memory::search_blocking`](crate::Memory::search_blocking).
    pub fn search_blocking(&self, queries: &[f32], options: impl Into<SearchOptions>) -> Result<KeyedHits<K>> {
        const OPERATION: &str = "KeyedMemory::search_blocking";
        let hits = self.memory.search_blocking(queries, options).map_err(|error| error.named(OPERATION))?;
        KeyedHits::new(OPERATION, hits, &self.index.keys())
    }
}
