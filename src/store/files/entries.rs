//! The keys and metadata of a keyed memory, in the tensors that a saved memory has for them.

use std::{fmt, iter};

use safetensors::tensor::Dtype;

use super::contents::{CRC_METADATA, Part, Place, digits, lines_checksum, locate, place};
use super::safetensors::Header;
use crate::error::Result;

/// What the keys of a keyed memory are ([`KeyedMemory`](crate::keyed::KeyedMemory)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyType {
    /// Numbers.
    U64,
    /// Texts.
    String,
}

/// As Rust spells them, but without capitals: `u64`, `string`.
impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U64 => "u64",
            Self::String => "string",
        })
    }
}

const KEY_TYPE: &str = "key_type";
/// The checksum of what the header says of entries.
const CRC_ENTRIES: &str = "crc32.entries";
/// Bytes that are written at a time, about.
const PIECE: usize = 1 << 18;

impl Part {
    /// Those of entries, in the order in which their checksum takes them.
    const ENTRIES: [Self; 4] = [Self::EntryKeys, Self::EntryKeyEnds, Self::EntryMetadata, Self::EntryMetadataEnds];

    pub(super) fn is_entry(self) -> bool {
        Self::ENTRIES.contains(&self)
    }
}

/// The checksum of what a header says of entries. That of the memory is among it: entries belong to one memory.
fn checksum<'t>(
    text: impl Fn(&str) -> Option<&'t str>,
    tensors: impl Iterator<Item = (&'static str, String, Vec<usize>)>,
) -> String {
    let names = iter::once(KEY_TYPE).chain(Part::ENTRIES.map(Part::checksum)).chain([CRC_METADATA]);
    digits(lines_checksum(names, text, tensors))
}

/// What a keyed memory has beside its patterns, by position. A position without a pattern has the key 0 or "".
pub(crate) struct EntryColumns<'a> {
    pub keys: KeyColumn<'a>,
    /// JSON, where a pattern has any; absent where none has.
    pub metadata: Option<TextColumn<'a>>,
}

/// The text at a position.
pub(crate) type TextColumn<'a> = Box<dyn Fn(usize) -> &'a str + 'a>;

/// The key at a position.
pub(crate) enum KeyColumn<'a> {
    U64(Box<dyn Fn(usize) -> u64 + 'a>),
    String(TextColumn<'a>),
}

impl KeyColumn<'_> {
    fn key_type(&self) -> KeyType {
        match self {
            Self::U64(_) => KeyType::U64,
            Self::String(_) => KeyType::String,
        }
    }
}

impl<'a> EntryColumns<'a> {
    /// The columns of texts, with their tensors of bytes and of ends.
    fn texts(&self) -> impl Iterator<Item = (&TextColumn<'a>, Part, Part)> {
        let keys = match &self.keys {
            KeyColumn::U64(_) => None,
            KeyColumn::String(keys) => Some((keys, Part::EntryKeys, Part::EntryKeyEnds)),
        };
        let metadata = self.metadata.as_ref().map(|all| (all, Part::EntryMetadata, Part::EntryMetadataEnds));
        keys.into_iter().chain(metadata)
    }

    /// The tensors of `positions` positions, with the shape of each.
    pub(super) fn tensors(&self, positions: usize) -> Vec<(Part, Dtype, Vec<usize>)> {
        let mut all = Vec::new();
        if let KeyColumn::U64(_) = self.keys {
            all.push((Part::EntryKeys, Dtype::U64, vec![positions]));
        }
        for (texts, bytes, ends) in self.texts() {
            let length = (0..positions).map(|position| texts(position).len()).sum();
            all.extend([(bytes, Dtype::U8, vec![length]), (ends, Dtype::U64, vec![positions])]);
        }
        all
    }

    /// Adds to the metadata what tells of entries. The checksums of all `tensors` are there already.
    pub(super) fn describe(&self, metadata: &mut Vec<(&'static str, String)>, tensors: &[(Part, Dtype, Vec<usize>)]) {
        metadata.push((KEY_TYPE, self.keys.key_type().to_string()));
        let text = |name: &str| metadata.iter().find(|(is, _)| *is == name).map(|(_, text)| text.as_str());
        let shapes = Part::ENTRIES.into_iter().filter_map(|part| tensors.iter().find(|(is, ..)| *is == part));
        let shapes = shapes.map(|(part, dtype, shape)| (part.name(), dtype.to_string(), shape.clone()));
        let crc = checksum(text, shapes);
        metadata.push((CRC_ENTRIES, crc));
    }

    /// Puts the bytes of all tensors, in order within each.
    pub(super) fn write(&self, positions: usize, mut put: impl FnMut(Part, &[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = Buffered { bytes: Vec::new() };
        if let KeyColumn::U64(keys) = &self.keys {
            for position in 0..positions {
                buffer.push(&keys(position).to_le_bytes(), |bytes| put(Part::EntryKeys, bytes))?;
            }
            buffer.flush(|bytes| put(Part::EntryKeys, bytes))?;
        }
        for (texts, bytes, ends) in self.texts() {
            for position in 0..positions {
                buffer.push(texts(position).as_bytes(), |piece| put(bytes, piece))?;
            }
            buffer.flush(|piece| put(bytes, piece))?;
            let mut end = 0u64;
            for position in 0..positions {
                end += texts(position).len() as u64;
                buffer.push(&end.to_le_bytes(), |piece| put(ends, piece))?;
            }
            buffer.flush(|piece| put(ends, piece))?;
        }
        Ok(())
    }
}

/// Bytes that are written together.
struct Buffered {
    bytes: Vec<u8>,
}

impl Buffered {
    fn push(&mut self, more: &[u8], put: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.bytes.extend_from_slice(more);
        if self.bytes.len() < PIECE { Ok(()) } else { self.flush(put) }
    }

    fn flush(&mut self, put: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        let done = put(&self.bytes);
        self.bytes.clear();
        done
    }
}

/// Where the entries of a saved memory lie.
#[derive(Debug)]
pub(super) struct EntryPlaces {
    pub key_type: KeyType,
    pub places: Vec<Place>,
}

/// Where the entries of a memory of `positions` positions lie, if it has any.
pub(super) fn entry_places(header: &Header, positions: usize) -> Result<Option<EntryPlaces>, String> {
    let Some(key_type) = header.metadata(KEY_TYPE) else { return Ok(None) };
    let tensors = Part::ENTRIES.into_iter().filter_map(|part| {
        let found = header.tensor(part.name())?;
        Some((part.name(), found.spelling, found.shape))
    });
    let got = checksum(|name| header.metadata(name), tensors);
    match header.metadata(CRC_ENTRIES) {
        Some(expected) if expected == got => {}
        Some(expected) => {
            return Err(format!("the metadata of entries is damaged: its checksum is {got}, expected {expected}"));
        }
        None => return Err(format!("metadata `{CRC_ENTRIES}` is missing")),
    }
    let key_type = [KeyType::U64, KeyType::String]
        .into_iter()
        .find(|is| is.to_string() == key_type)
        .ok_or_else(|| format!("metadata `{KEY_TYPE}` is {key_type:?}, which is unknown"))?;
    let mut places = Vec::new();
    let mut texts = |bytes: Part, ends: Part| -> Result<(), String> {
        let found = locate(header, bytes)?;
        let [length] = found.shape[..] else {
            return Err(format!("{} has {} dimensions, expected 1", bytes.name(), found.shape.len()));
        };
        places.push(place(header, bytes, Dtype::U8, &[length])?);
        places.push(place(header, ends, Dtype::U64, &[positions])?);
        Ok(())
    };
    if key_type == KeyType::String {
        texts(Part::EntryKeys, Part::EntryKeyEnds)?;
    }
    if [Part::EntryMetadata, Part::EntryMetadataEnds].into_iter().any(|part| header.tensor(part.name()).is_some()) {
        texts(Part::EntryMetadata, Part::EntryMetadataEnds)?;
    }
    if key_type == KeyType::U64 {
        places.push(place(header, Part::EntryKeys, Dtype::U64, &[positions])?);
    }
    Ok(Some(EntryPlaces { key_type, places }))
}

/// What was saved beside the patterns, by position.
pub(crate) struct SavedEntries {
    pub keys: SavedKeys,
    /// JSON that has yet to be checked; "" where a pattern has none.
    pub metadata: Option<Texts>,
}

pub(crate) enum SavedKeys {
    U64(Vec<u64>),
    String(Texts),
}

/// Texts one after another.
pub(crate) struct Texts {
    all: String,
    ends: Vec<u64>,
}

impl Texts {
    /// Texts that end at `ends`, and why they do not; `bytes` and `named` are their tensors.
    pub(super) fn new(bytes: Vec<u8>, ends: Vec<u64>, tensor: Part, named: Part) -> Result<Self, String> {
        let (tensor, named) = (tensor.name(), named.name());
        let all = String::from_utf8(bytes)
            .map_err(|error| format!("{tensor} is no UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
        let mut last = 0;
        for (row, end) in ends.iter().enumerate() {
            if *end < last || *end > all.len() as u64 {
                return Err(format!("{named} row {row} is {end}, expected {last} to {}", all.len()));
            }
            if !all.is_char_boundary(*end as usize) {
                return Err(format!("{named} row {row} is {end}, within a character of {tensor}"));
            }
            last = *end;
        }
        match last == all.len() as u64 {
            true => Ok(Self { all, ends }),
            false => Err(format!("{named} ends at {last}, and {tensor} has {} bytes", all.len())),
        }
    }

    /// The text at `position`, which the memory has.
    pub fn get(&self, position: usize) -> &str {
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start as usize..self.ends[position] as usize]
    }
}
