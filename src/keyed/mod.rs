//! Memories whose patterns have keys of the caller's own: numbers or texts, each at most once, with metadata beside
//! them.
//!
//! A [`KeyedMemory`] wraps a [`Memory`](crate::Memory). [`KeyedMemory::search`] finds keys. The memory retrieves; what
//! it reports are pattern ids, and [`KeyedMemory::key_of`] gives their keys, as long as they are stored: a retrieval
//! that was begun before a removal may name a pattern that has lost its key. In this module a *key* is the caller's;
//! the `d` floats that the rest of the library calls a key belong to the pattern.
//!
//! ```
//! use attractor::keyed::{Entries, KeyedMemory};
//! use attractor::{Device, Memory, Rule};
//! let memory = Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?;
//! let mut memory = KeyedMemory::<String>::new(memory)?;
//! memory.add(Entries::new(&["east", "north"], &[1.0, 0.0, 0.0, 1.0]))?;
//! memory.upsert(Entries::new(&["north", "west"], &[0.1, 0.9, -1.0, 0.0]))?;
//! memory.remove(&["east"])?;
//! let nearest = memory.search_blocking(&[-0.8, 0.3], 1)?;
//! assert_eq!(nearest.keys().next(), Some(Some("west")));
//! # Ok::<(), attractor::Error>(())
//! ```

mod batches;
mod change;
mod entries;
#[cfg(feature = "files")]
mod files;
mod handle;
mod index;
mod key;
mod metadata;
mod search;

pub use batches::{Batch, Batches};
pub use entries::Entries;
pub use handle::KeyedMemory;
pub use key::Key;
pub use search::KeyedHits;
