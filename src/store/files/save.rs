//! Writing a memory to a file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use crc32fast::Hasher;

use super::contents::{CRC_METADATA, Contents, Part, REMOVED, SAVE, digits, little_endian, metadata_checksum};
use super::entries::EntryColumns;
use super::safetensors::Frame;
use super::write::replace;
use crate::error::Result;
use crate::file_error::refused;
use crate::store::encoding::{Encoded, EncodedRows};
use crate::store::ids::Ids;
use crate::store::layout::stride;

/// Writes a memory to `path`, atomically. `stored` gives the first of the rows at the positions asked for, as many as
/// it reads at a time; `written` hears how many positions are written.
pub(crate) fn write<'a>(
    path: &Path,
    contents: &Contents,
    ids: &Ids,
    entries: Option<&EntryColumns<'_>>,
    mut stored: impl FnMut(Range<usize>) -> Result<EncodedRows<'a>>,
    mut written: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    little_endian(SAVE)?;
    let positions = ids.positions();
    let mut tensors = contents.tensors(positions, ids.has_table());
    if let Some(entries) = entries {
        tensors.extend(entries.tensors(positions));
    }
    let named: Vec<_> = tensors.iter().map(|(part, dtype, shape)| (part.name(), *dtype, &shape[..])).collect();
    // The header comes first and has the checksums of what follows, whose length is known.
    let head = |checksums: &[u32]| {
        let mut metadata = contents.metadata(ids);
        metadata.extend(tensors.iter().zip(checksums).map(|((part, ..), crc)| (part.checksum(), digits(*crc))));
        let text = |name: &str| metadata.iter().find(|(is, _)| *is == name).map(|(_, text)| text.as_str());
        let shapes = tensors.iter().filter(|(part, ..)| !part.is_entry());
        let shapes = shapes.map(|(part, dtype, shape)| (part.name(), dtype.to_string(), shape.clone()));
        let crc = metadata_checksum(text, shapes);
        metadata.push((CRC_METADATA, digits(crc)));
        if let Some(entries) = entries {
            entries.describe(&mut metadata, &tensors);
        }
        Frame::new(&metadata, &named)
    };
    let places = head(&vec![0; tensors.len()]).places;
    let mut outs: Vec<Out> =
        tensors.iter().zip(&places).map(|((part, ..), place)| Out::new(*part, place.start)).collect();
    let alive = |rows: &Range<usize>| -> Option<Vec<bool>> {
        (ids.len() < positions).then(|| rows.clone().map(|position| ids.id(position).is_some()).collect())
    };
    replace(SAVE, path, |file| {
        let mut put = |part: Part, bytes: &[u8]| match outs.iter_mut().find(|out| out.part == part) {
            Some(out) => out.put(file, bytes).map_err(refused(SAVE, path, "write")),
            None => Ok(()),
        };
        for first in (0..if ids.has_table() { positions } else { 0 }).step_by(1 << 16) {
            let last = positions.min(first + (1 << 16));
            let bytes: Vec<u8> =
                (first..last).flat_map(|position| ids.id(position).map_or(REMOVED, |id| id.0).to_le_bytes()).collect();
            put(Part::Ids, &bytes)?;
        }
        if let Some(entries) = entries {
            entries.write(positions, &mut put)?;
        }
        let mut first = 0;
        while first < positions {
            let rows = stored(first..positions)?;
            let alive = alive(&(first..first + rows.count));
            let alive = alive.as_deref();
            let element = contents.precision.bytes();
            let mut put_rows = |part, encoded: &Encoded<'_>, columns: usize| {
                put(part, &tight(&encoded.rows, columns * element, stride(columns) * element, alive))
            };
            put_rows(Part::Keys, &rows.keys, contents.dim)?;
            if let (Some(values), Some(columns)) = (&rows.values, contents.value_dim) {
                put_rows(Part::Values, values, columns)?;
            }
            let singles = [
                (Part::KeyScales, Some(&rows.keys.scales)),
                (Part::ValueScales, rows.values.as_ref().map(|values| &values.scales)),
                (Part::Bias, rows.bias.as_ref()),
            ];
            for (part, singles) in singles {
                if let Some(singles) = singles {
                    put(part, &tight(bytemuck::cast_slice(singles), 4, 4, alive))?;
                }
            }
            first += rows.count;
            written(first)?;
        }
        let checksums: Vec<u32> = outs.iter().map(|out| out.crc.clone().finalize()).collect();
        let headed = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head(&checksums).head));
        headed.map_err(refused(SAVE, path, "write"))
    })
}

/// A tensor that is being written.
struct Out {
    part: Part,
    /// Where its next bytes go.
    at: u64,
    crc: Hasher,
}

impl Out {
    fn new(part: Part, at: u64) -> Self {
        Self { part, at, crc: Hasher::new() }
    }

    fn put(&mut self, file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
        file.seek(SeekFrom::Start(self.at))?;
        file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(())
    }
}

/// Rows of `row` bytes that were `stride` apart, side by side; those of removed patterns zero, for they were removed.
fn tight<'a>(rows: &'a [u8], row: usize, stride: usize, alive: Option<&[bool]>) -> Cow<'a, [u8]> {
    if row == stride && alive.is_none_or(|alive| alive.iter().all(|alive| *alive)) {
        return rows.into();
    }
    let mut bytes = Vec::with_capacity(rows.len() / stride * row);
    for (i, from) in rows.chunks_exact(stride).enumerate() {
        match alive.is_none_or(|alive| alive[i]) {
            true => bytes.extend_from_slice(&from[..row]),
            false => bytes.resize(bytes.len() + row, 0),
        }
    }
    bytes.into()
}
