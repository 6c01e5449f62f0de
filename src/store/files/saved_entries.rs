//! Reading the keys and metadata of a keyed memory from a file.

use super::contents::{LOAD, Part};
use super::entries::{KeyType, SavedEntries, SavedKeys, Texts};
use super::saved::{Reading, SavedMemory};
use crate::error::Result;
use crate::room::numbers;

impl SavedMemory {
    /// What the keys are, of a file that [`KeyedMemory::save`](crate::keyed::KeyedMemory::save) wrote. None of another,
    /// and of one whose keys are damaged, which loading them tells.
    pub fn key_type(&self) -> Option<KeyType> {
        self.entries.as_ref().ok()?.as_ref().map(|entries| entries.key_type)
    }

    /// Keys and metadata.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where there are none, or others than `key_type`, or they are damaged.
    pub(crate) fn entries(&self, key_type: KeyType) -> Result<SavedEntries> {
        let entries = match &self.entries {
            Ok(Some(entries)) if entries.key_type == key_type => entries,
            Ok(Some(other)) => {
                return Err(self.fail(&format!("its keys are {}, expected {key_type}", other.key_type)));
            }
            Ok(None) => return Err(self.fail("a memory without keys; Memory::load reads it")),
            Err(why) => return Err(self.fail(why)),
        };
        let read = |part: Part| -> Result<Option<Vec<u8>>> {
            let Some(place) = entries.places.iter().find(|place| place.part == part) else { return Ok(None) };
            let length = place.data.end - place.data.start;
            let mut tensor = Reading::new(place.clone());
            tensor.read(&self.source, 0..length, |_| None)?;
            tensor.verify().map_err(|why| self.fail(&why))?;
            Ok(Some(tensor.bytes))
        };
        // Files are little-endian, and so are the machines that read them.
        let ends = |bytes: Option<Vec<u8>>| numbers::<u64>(LOAD, "keys", &bytes.unwrap_or_default());
        let texts = |bytes: Part, named: Part| -> Result<Option<Texts>> {
            let Some(all) = read(bytes)? else { return Ok(None) };
            Texts::new(all, ends(read(named)?)?, bytes, named).map(Some).map_err(|why| self.fail(&why))
        };
        let keys = match key_type {
            KeyType::U64 => SavedKeys::U64(ends(read(Part::EntryKeys)?)?),
            KeyType::String => match texts(Part::EntryKeys, Part::EntryKeyEnds)? {
                Some(keys) => SavedKeys::String(keys),
                None => return Err(self.fail("entry_keys: no tensor of this name")),
            },
        };
        Ok(SavedEntries { keys, metadata: texts(Part::EntryMetadata, Part::EntryMetadataEnds)? })
    }
}
