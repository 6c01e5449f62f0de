//! Keyed memories in and out of files.

use std::borrow::Borrow;
use std::ops::ControlFlow;
use std::path::Path;

use super::entries::borrowed;
use super::handle::KeyedMemory;
use super::index::{Index, check_distinct};
use super::key::Key;
use super::key::stored::AnyKey;
use super::metadata::check_json;
use crate::device::handle::Device;
use crate::error::Result;
use crate::file_error::unfit;
use crate::memory::{LoadOptions, Memory};
use crate::progress::{Progress, proceed};
use crate::store::files::{EntryColumns, KeyColumn, KeyType, PatternFiles, SavedKeys, SavedMemory, Texts};

const SAVE: &str = "KeyedMemory::save";
const LOAD: &str = "KeyedMemory::load";

impl<K: Key> KeyedMemory<K> {
    /// Saves patterns, keys and metadata to one file, as [`Memory::save`] does: whatever happens, there is the old file
    /// or the whole new one at `path`. [`Memory::load`] reads it, too, without the keys.
    ///
    /// ```
    /// use attractor::keyed::{Entries, KeyedMemory};
    /// use attractor::{Device, Memory, Rule};
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("memory.safetensors");
    /// let mut memory = KeyedMemory::<String>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?)?;
    /// memory.add(Entries::new(&["east"], &[1.0, 0.0]))?;
    /// memory.save(&path)?;
    /// let memory = KeyedMemory::<String>::load(&Device::cpu(), &path)?;
    /// assert_eq!(memory.get("east")?.key, [1.0, 0.0]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Memory::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with_progress(path, proceed)
    }

    /// [`KeyedMemory::save`], telling `progress` after each piece how many positions are written.
    ///
    /// # Errors
    /// As [`Memory::save_with_progress`].
    pub fn save_with_progress(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        let id = |position| self.memory.id_at(position);
        let any = move |position| id(position).and_then(|id| self.key_of(id)).map(K::any);
        let keys = match K::IS_TEXT {
            false => KeyColumn::U64(Box::new(move |position| match any(position) {
                Some(AnyKey::U64(key)) => key,
                _ => 0,
            })),
            true => KeyColumn::String(Box::new(move |position| match any(position) {
                Some(AnyKey::String(key)) => key,
                _ => "",
            })),
        };
        let metadata = move |position| id(position).and_then(|id| self.index.metadata(id)).unwrap_or("");
        let columns = EntryColumns { keys, metadata: self.index.has_metadata().then(|| Box::new(metadata) as _) };
        self.memory.save_entries(path.as_ref(), Some(&columns), progress).map_err(|error| error.named(SAVE))
    }

    /// Loads what [`KeyedMemory::save`] wrote, with keys of the same type ([`SavedMemory::key_type`]).
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a file without keys, with keys of the other type, with damaged ones, or
    /// with one twice; and as [`Memory::load`].
    pub fn load(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(device, path, &LoadOptions::default())
    }

    /// [`KeyedMemory::load`] as `options` say.
    ///
    /// # Errors
    /// As [`KeyedMemory::load`].
    pub fn load_with(device: &Device, path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::load_with_progress(device, path, options, proceed)
    }

    /// [`KeyedMemory::load_with`], telling `progress` after each piece how many positions are loaded.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`KeyedMemory::load`].
    pub fn load_with_progress(
        device: &Device,
        path: impl AsRef<Path>,
        options: &LoadOptions,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let load = || -> Result<Self> {
            let key_type = if K::IS_TEXT { KeyType::String } else { KeyType::U64 };
            let saved = SavedMemory::open(path)?;
            // Before the patterns, which are many more bytes.
            let entries = saved.entries(key_type)?;
            let memory = saved.load_with_progress(device, options, progress)?;
            let index = index::<K>(&memory, &entries.keys, entries.metadata.as_ref(), |why| {
                unfit(LOAD, path, format!("{}: {why}", path.display()))
            })?;
            Ok(Self { memory, index })
        };
        load().map_err(|error| error.named(LOAD))
    }

    /// Stores the patterns of `files` under `keys`, one each ([`Memory::import`]).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for another number of keys than patterns,
    /// [`Error::DuplicateKey`](crate::Error::DuplicateKey) for a key that is stored or is there twice, and as
    /// [`Memory::import`]. The memory is then as it was.
    pub fn import<Q: Borrow<K::Ref>>(&mut self, keys: &[Q], files: &PatternFiles) -> Result<()> {
        self.import_with_progress(keys, files, proceed)
    }

    /// [`KeyedMemory::import`], telling `progress` after each chunk how many patterns are stored.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`KeyedMemory::import`]. The memory is then as it was.
    pub fn import_with_progress<Q: Borrow<K::Ref>>(
        &mut self,
        keys: &[Q],
        files: &PatternFiles,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        const OPERATION: &str = "KeyedMemory::import";
        if keys.len() != files.len() {
            let expected = format!("{} keys, one for each pattern", files.len());
            return Err(crate::Error::Shape { operation: OPERATION, expected, got: keys.len().to_string() });
        }
        let keys = borrowed::<K, Q>(OPERATION, keys)?;
        check_distinct(OPERATION, &keys)?;
        keys.iter().try_for_each(|key| self.check_new(OPERATION, key))?;
        self.index.try_reserve(OPERATION, keys.len(), 0)?;
        let added = self.memory.import_with_progress(files, progress).map_err(|error| error.named(OPERATION))?;
        for (key, id) in keys.into_iter().zip(added) {
            self.index.insert(K::share(key), id, None);
        }
        Ok(())
    }
}

/// The index of a memory that was loaded with these columns.
fn index<K: Key>(
    memory: &Memory,
    keys: &SavedKeys,
    metadata: Option<&Texts>,
    fail: impl Fn(String) -> crate::Error,
) -> Result<Index<K>> {
    let mut index = Index::default();
    index.try_reserve(LOAD, memory.len(), if metadata.is_some() { memory.len() } else { 0 })?;
    for position in 0..memory.position_count() {
        let Some(id) = memory.id_at(position) else { continue };
        let key = match keys {
            SavedKeys::U64(keys) => AnyKey::U64(keys[position]),
            SavedKeys::String(keys) => AnyKey::String(keys.get(position)),
        };
        let Some(key) = K::of_any(key) else { return Err(fail("its keys are of another type".into())) };
        if index.id(key.borrow()).is_some() {
            return Err(fail(format!("entry_keys: row {position} has the key {key:?}, which is there twice")));
        }
        let text = metadata.map_or("", |texts| texts.get(position));
        if !text.is_empty() {
            check_json(text).map_err(|why| fail(format!("entry_metadata: row {position} is no JSON: {why}")))?;
        }
        index.insert(key, id, (!text.is_empty()).then(|| text.into()));
    }
    Ok(index)
}
