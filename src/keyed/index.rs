//! Which pattern has which key, and the metadata of each.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::key::Key;
use super::key::stored::Stored;
use crate::error::{Error, Result};
use crate::id::PatternId;
use crate::room::no_room;

/// The key of each pattern. A search that has not been answered shares it.
pub(super) type Keys<K> = HashMap<PatternId, <K as Stored<<K as Key>::Ref>>::Shared>;

/// The keys of all patterns of a memory.
#[derive(Clone)]
pub(super) struct Index<K: Key> {
    ids: HashMap<K::Shared, PatternId>,
    keys: Arc<Keys<K>>,
    metadata: HashMap<PatternId, Box<str>>,
}

impl<K: Key> Default for Index<K> {
    fn default() -> Self {
        Self { ids: HashMap::new(), keys: Arc::default(), metadata: HashMap::new() }
    }
}

impl<K: Key> Index<K> {
    pub fn id(&self, key: &K::Ref) -> Option<PatternId> {
        self.ids.get(key).copied()
    }

    pub fn key(&self, id: PatternId) -> Option<&K::Ref> {
        self.keys.get(&id).map(Borrow::borrow)
    }

    /// The key of each pattern as it is now, whatever changes.
    pub fn keys(&self) -> Arc<Keys<K>> {
        self.keys.clone()
    }

    pub fn metadata(&self, id: PatternId) -> Option<&str> {
        self.metadata.get(&id).map(AsRef::as_ref)
    }

    /// Whether some pattern has metadata.
    #[cfg(feature = "files")]
    pub fn has_metadata(&self) -> bool {
        !self.metadata.is_empty()
    }

    /// The pattern of `key`.
    ///
    /// # Errors
    /// [`Error::UnknownKey`].
    pub fn known(&self, operation: &'static str, key: &K::Ref) -> Result<PatternId> {
        self.id(key).ok_or_else(|| Error::UnknownKey { operation, key: text(key) })
    }

    /// The key of each pattern, to be changed: a copy where a search still reads it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn unshared(&mut self, operation: &'static str) -> Result<&mut Keys<K>> {
        if Arc::get_mut(&mut self.keys).is_none() {
            let mut copy: Keys<K> = HashMap::new();
            let length = self.keys.len();
            copy.try_reserve(length).map_err(|_| no_room::<(PatternId, K::Shared)>(operation, "keys", length))?;
            copy.extend(self.keys.iter().map(|(id, key)| (*id, key.clone())));
            self.keys = Arc::new(copy);
        }
        Ok(Arc::get_mut(&mut self.keys).expect("a copy that nothing else holds"))
    }

    /// Makes room for `additional` keys, of which `described` have metadata.
    pub fn try_reserve(&mut self, operation: &'static str, additional: usize, described: usize) -> Result<()> {
        let full = |_| no_room::<(K::Shared, PatternId)>(operation, "keys", additional);
        self.metadata
            .try_reserve(described)
            .map_err(|_| no_room::<(PatternId, Box<str>)>(operation, "metadata", described))?;
        if additional > 0 {
            self.ids.try_reserve(additional).map_err(full)?;
            self.unshared(operation)?.try_reserve(additional).map_err(full)?;
        }
        Ok(())
    }

    /// Gives the pattern `id`, which has no key, the key `key`, which no pattern has. [`Index::try_reserve`] comes
    /// before.
    pub fn insert(&mut self, key: K::Shared, id: PatternId, metadata: Option<Box<str>>) {
        self.ids.insert(key.clone(), id);
        Arc::make_mut(&mut self.keys).insert(id, key);
        if let Some(metadata) = metadata {
            self.metadata.insert(id, metadata);
        }
    }

    pub fn set_metadata(&mut self, id: PatternId, metadata: Option<Box<str>>) {
        match metadata {
            Some(metadata) => drop(self.metadata.insert(id, metadata)),
            None => drop(self.metadata.remove(&id)),
        }
    }

    /// Takes its key from the pattern `id`. [`Index::unshared`] comes before.
    pub fn remove(&mut self, id: PatternId) {
        if let Some(key) = Arc::make_mut(&mut self.keys).remove(&id) {
            self.ids.remove(Borrow::<K::Ref>::borrow(&key));
        }
        self.metadata.remove(&id);
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
