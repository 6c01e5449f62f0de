//! Which pattern has which key, and the metadata of each.

use std::collections::HashMap;
use std::fmt::Debug;

use super::key::Key;
use crate::error::{Error, Result};
use crate::id::PatternId;
use crate::room::no_room;

/// The keys of all patterns of a memory.
#[derive(Clone)]
pub(super) struct Index<K: Key> {
    ids: HashMap<K::Shared, PatternId>,
    entries: HashMap<PatternId, Entry<K>>,
}

#[derive(Clone)]
struct Entry<K: Key> {
    key: K::Shared,
    metadata: Option<Box<str>>,
}

impl<K: Key> Default for Index<K> {
    fn default() -> Self {
        Self { ids: HashMap::new(), entries: HashMap::new() }
    }
}

impl<K: Key> Index<K> {
    pub fn id(&self, key: &K::Ref) -> Option<PatternId> {
        self.ids.get(key).copied()
    }

    pub fn key(&self, id: PatternId) -> Option<&K::Ref> {
        self.entries.get(&id).map(|entry| std::borrow::Borrow::borrow(&entry.key))
    }

    pub fn metadata(&self, id: PatternId) -> Option<&str> {
        self.entries.get(&id)?.metadata.as_deref()
    }

    /// Whether some pattern has metadata.
    #[cfg(feature = "files")]
    pub fn has_metadata(&self) -> bool {
        self.entries.values().any(|entry| entry.metadata.is_some())
    }

    /// The pattern of `key`.
    ///
    /// # Errors
    /// [`Error::UnknownKey`].
    pub fn known(&self, operation: &'static str, key: &K::Ref) -> Result<PatternId> {
        self.id(key).ok_or_else(|| Error::UnknownKey { operation, key: text(key) })
    }

    /// Makes room for `additional` keys.
    pub fn try_reserve(&mut self, operation: &'static str, additional: usize) -> Result<()> {
        let full = |_| no_room::<(K::Shared, PatternId)>(operation, "keys", additional);
        self.ids.try_reserve(additional).map_err(full)?;
        self.entries.try_reserve(additional).map_err(full)
    }

    /// Gives the pattern `id`, which has no key, the key `key`, which no pattern has.
    pub fn insert(&mut self, key: K::Shared, id: PatternId, metadata: Option<Box<str>>) {
        self.ids.insert(key.clone(), id);
        self.entries.insert(id, Entry { key, metadata });
    }

    pub fn set_metadata(&mut self, id: PatternId, metadata: Option<Box<str>>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.metadata = metadata;
        }
    }

    pub fn remove(&mut self, id: PatternId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.ids.remove(std::borrow::Borrow::<K::Ref>::borrow(&entry.key));
        }
    }
}

/// Refuses keys of which one is there twice.
///
/// # Errors
/// [`Error::DuplicateKey`].
pub(super) fn check_distinct<R: ?Sized + Eq + std::hash::Hash + Debug>(
    operation: &'static str,
    keys: &[&R],
) -> Result<()> {
    let mut seen = HashMap::new();
    seen.try_reserve(keys.len()).map_err(|_| no_room::<(&R, usize)>(operation, "keys", keys.len()))?;
    for (at, key) in keys.iter().enumerate() {
        if let Some(first) = seen.insert(*key, at) {
            return Err(duplicate(operation, *key, format!("is given twice, at {first} and at {at}")));
        }
    }
    Ok(())
}

pub(super) fn duplicate<R: ?Sized + Debug>(operation: &'static str, key: &R, why: String) -> Error {
    Error::DuplicateKey { operation, key: text(key), why }
}

/// A key as messages have it: texts are quoted, and cut where they are long.
fn text<R: ?Sized + Debug>(key: &R) -> String {
    const LONGEST: usize = 100;
    let text = format!("{key:?}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
