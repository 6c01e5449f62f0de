//! What is stored under keys.

use std::borrow::Borrow;

use super::key::Key;
use crate::error::Result;
use crate::patterns::Patterns;
use crate::room::collect;

/// Keys, the pattern of each, and metadata: what a [`KeyedMemory`](super::KeyedMemory) stores.
///
/// Keys of a memory of numbers are `u64` or `&u64`, keys of a memory of texts `&str` or `String`.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a, Q> {
    pub(super) keys: &'a [Q],
    pub(super) patterns: Patterns<'a>,
    pub(super) metadata: Option<&'a [Option<&'a str>]>,
}

impl<'a, Q> Entries<'a, Q> {
    /// Keys and their patterns, in the same order: `n` keys and `n` rows.
    pub fn new(keys: &'a [Q], patterns: impl Into<Patterns<'a>>) -> Self {
        Self { keys, patterns: patterns.into(), metadata: None }
    }

    /// Gives the `n` entries metadata: JSON texts, which are kept as they are, nested at most 127 deep; `None` for an
    /// entry that has none.
    ///
    /// ```
    /// use attractor::keyed::{Entries, KeyedMemory};
    /// use attractor::{Device, Memory, Rule};
    /// let mut memory = KeyedMemory::<u64>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?)?;
    /// let metadata = [Some(r#"{"lang": "en"}"#), None];
    /// memory.add(Entries::new(&[7u64, 9], &[1.0, 0.0, 0.0, 1.0]).metadata(&metadata))?;
    /// assert_eq!(memory.metadata(&7)?, Some(r#"{"lang": "en"}"#));
    /// # Ok::<(), attractor::Error>(())
    /// ```
    #[cfg(feature = "files")]
    pub fn metadata(mut self, metadata: &'a [Option<&'a str>]) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// The keys.
    pub fn keys(&self) -> &'a [Q] {
        self.keys
    }

    /// The patterns.
    pub fn patterns(&self) -> Patterns<'a> {
        self.patterns
    }

    /// What [`Entries::metadata`] set.
    pub fn get_metadata(&self) -> Option<&'a [Option<&'a str>]> {
        self.metadata
    }
}

/// Each key as it is looked up. A caller's own `Borrow` is asked once: it may say something else each time.
pub(super) fn borrowed<'q, K: Key, Q: Borrow<K::Ref>>(
    operation: &'static str,
    keys: &'q [Q],
) -> Result<Vec<&'q K::Ref>> {
    collect(operation, "keys", keys.iter().map(Borrow::borrow))
}
