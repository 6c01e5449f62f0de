//! Entries read block by block.

use std::fmt;

use super::handle::KeyedMemory;
use super::key::Key;
use crate::error::{Error, Result};
use crate::memory::Block;
use crate::patterns::Patterns;

const OPERATION: &str = "KeyedMemory::batches";

/// The entries of a keyed memory, batch by batch ([`KeyedMemory::batches`]).
pub struct Batches<'m, K: Key> {
    memory: &'m KeyedMemory<K>,
    /// The next position, and how many a batch has at most.
    next: usize,
    rows: usize,
}

/// Some entries of a keyed memory.
#[non_exhaustive]
pub struct Batch<'m, K: Key> {
    /// The keys.
    pub keys: Vec<&'m K::Ref>,
    /// The metadata of each; `None` where it has none.
    pub metadata: Vec<Option<&'m str>>,
    block: Block,
}

impl<K: Key> Batch<'_, K> {
    /// The patterns, as they are stored: rows that [`Memory::add`](crate::Memory::add) takes.
    pub fn patterns(&self) -> Patterns<'_> {
        self.block.patterns()
    }
}

impl<K: Key> fmt::Debug for Batches<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("next", &self.next).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<K: Key> fmt::Debug for Batch<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("keys", &self.keys).field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl<K: Key> KeyedMemory<K> {
    /// All entries, in the order of [`KeyedMemory::keys`], in batches of at most `rows`: only one is read at a time. On
    /// a GPU it is read back, which waits, unless there is a [host copy](crate::MemoryOptions::host_copy).
    ///
    /// ```
    /// use attractor::keyed::{Entries, KeyedMemory};
    /// use attractor::{Device, Memory, Rule};
    /// let mut memory = KeyedMemory::<u64>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?)?;
    /// memory.add(Entries::new(&[7u64, 8, 9], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5]))?;
    /// let mut keys: Vec<&u64> = Vec::new();
    /// for batch in memory.batches(2)? {
    ///     let batch = batch?;
    ///     assert_eq!(batch.patterns().keys().len(), batch.keys.len() * 2);
    ///     keys.extend(batch.keys);
    /// }
    /// assert_eq!(keys, [&7, &8, &9]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for batches of 0 rows. The iterator's own are those of [`Memory::get`](crate::Memory::get),
    /// and [`Error::OutOfMemory`]; nothing comes after one.
    pub fn batches(&self, rows: usize) -> Result<Batches<'_, K>> {
        match rows {
            0 => Err(Error::Parameter {
                operation: OPERATION,
                parameter: "rows",
                expected: "at least 1",
                got: "0".into(),
            }),
            rows => Ok(Batches { memory: self, next: 0, rows }),
        }
    }
}

impl<'m, K: Key> Batches<'m, K> {
    /// The entries of the next positions, which may be none.
    fn read(&mut self) -> Result<Batch<'m, K>> {
        let KeyedMemory { memory, index } = self.memory;
        let end = memory.position_count().min(self.next.saturating_add(self.rows));
        let (positions, block) = memory.block(OPERATION, self.next..end).map_err(|error| error.named(OPERATION))?;
        self.next += positions;
        Ok(Batch {
            keys: block.ids.iter().filter_map(|id| index.key(*id)).collect(),
            metadata: block.ids.iter().map(|id| index.metadata(*id)).collect(),
            block,
        })
    }
}

impl<'m, K: Key> Iterator for Batches<'m, K> {
    type Item = Result<Batch<'m, K>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.memory.memory.position_count() {
            match self.read() {
                Ok(batch) if batch.keys.is_empty() => {}
                Ok(batch) => return Some(Ok(batch)),
                Err(error) => {
                    self.next = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
