//! Reading a memory from a file: its header when it is opened, its rows piece by piece, each checked.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crc32fast::Hasher;

use super::contents::{Contents, LOAD, Part, Place, REMOVED, check_format, contents, digits, little_endian, places};
use super::entries::{EntryPlaces, entry_places};
use super::safetensors::Header;
use super::source::{Source, resize};
use super::tensor::first_bad;
use crate::error::{Error, Result};
use crate::file_error::unfit;
use crate::precision::Precision;
use crate::rule::Rule;
use crate::store::encoding::{Encoded, EncodedRows};
use crate::store::ids::Ids;
use crate::store::layout::{Layout, stride};

/// A saved memory that has been opened: its metadata is checked, and its patterns are checked while they are loaded.
///
/// ```
/// use attractor::files::SavedMemory;
/// use attractor::{Device, LoadOptions, Memory, Rule};
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("memory.safetensors");
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(4.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// memory.save(&path)?;
/// let saved = SavedMemory::open(&path)?;
/// assert_eq!((saved.dim(), saved.position_count(), saved.rule()), (2, 2, Rule::softmax(4.0)));
/// let sharper = LoadOptions::default().rule(Rule::softmax(40.0));
/// assert_eq!(saved.load(&Device::cpu(), &sharper)?.rule(), Rule::softmax(40.0));
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Debug)]
pub struct SavedMemory {
    pub(super) source: Arc<Source>,
    contents: Contents,
    pub(super) positions: usize,
    next_id: u64,
    places: Vec<Place>,
    /// Those of the entries of a keyed memory, or why there are none that make sense.
    pub(super) entries: Result<Option<EntryPlaces>, String>,
}

impl SavedMemory {
    /// Opens the memory at `path`.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, is no saved memory or one of another version, is truncated, or
    /// whose metadata is damaged or makes no sense.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        little_endian(LOAD)?;
        let source = Arc::new(Source::open(LOAD, path)?);
        let fail = |why: String| unfit(LOAD, path, format!("{}: {why}", path.display()));
        let header = Header::read(LOAD, &source)?.map_err(fail)?;
        check_format(&header).map_err(fail)?;
        let (contents, next_id) = contents(&header).map_err(fail)?;
        let (positions, places) = places(&header, &contents).map_err(fail)?;
        let entries = entry_places(&header, positions);
        Ok(Self { source, contents, positions, next_id, places, entries })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The rule of the memory that was saved.
    pub fn rule(&self) -> Rule {
        self.contents.rule
    }

    /// `d`, the length of a key, a query and a state.
    pub fn dim(&self) -> usize {
        self.contents.dim
    }

    /// `dv`, where the memory has values beside its keys.
    pub fn value_dim(&self) -> Option<usize> {
        self.contents.value_dim
    }

    /// How keys and values are stored.
    pub fn precision(&self) -> Precision {
        self.contents.precision
    }

    /// Positions in use, those of removed patterns included
    /// ([`Memory::position_count`](crate::Memory::position_count)).
    pub fn position_count(&self) -> usize {
        self.positions
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Which pattern is where.
    pub(crate) fn ids(&self) -> Result<Ids> {
        let mut reader = self.reader();
        let ids = match reader.tensor(Part::Ids) {
            Some(tensor) => {
                let size = 8 * self.positions as u64;
                tensor.read(&self.source, 0..size, |_| None)?;
                tensor.verify().map_err(|why| self.fail(&why))?;
                let ids = tensor.bytes.as_chunks().0.iter().map(|id| u64::from_le_bytes(*id));
                Ids::from_table(self.next_id, ids.map(|id| (id != REMOVED).then_some(id)))
            }
            None => Ids::consecutive(self.next_id, self.positions)
                .ok_or_else(|| format!("there are {} patterns, but next_id is {}", self.positions, self.next_id)),
        };
        ids.map_err(|why| self.fail(&format!("ids: {why}")))
    }

    /// Where a tensor is in the file, if there is one.
    pub(super) fn place(&self, part: Part) -> Option<&Place> {
        self.places.iter().find(|place| place.part == part)
    }

    /// Reads the rows, in order.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { saved: self, tensors: self.places.iter().cloned().map(Reading::new).collect() }
    }

    pub(super) fn fail(&self, why: &str) -> Error {
        unfit(LOAD, self.path(), format!("{}: {why}", self.path().display()))
    }
}

/// A tensor that is being read from its first byte to its last.
#[derive(Debug)]
pub(super) struct Reading {
    place: Place,
    crc: Hasher,
    /// What was read last.
    pub bytes: Vec<u8>,
    /// The same with padded rows, where they need padding.
    padded: Vec<u8>,
}

impl Reading {
    pub fn new(place: Place) -> Self {
        Self { place, crc: Hasher::new(), bytes: Vec::new(), padded: Vec::new() }
    }

    /// Reads its bytes `range`, which begin where the last ones ended, and returns the first that `bad` finds.
    pub fn read(
        &mut self,
        source: &Source,
        range: Range<u64>,
        bad: impl Fn(&[u8]) -> Option<usize> + Sync,
    ) -> Result<Option<usize>> {
        resize(LOAD, &mut self.bytes, (range.end - range.start) as usize)?;
        let at = self.place.data.start + range.start;
        let pieces = Source::pieces(&mut self.bytes, |first, to| {
            source.read(LOAD, at + first as u64, to)?;
            let mut crc = Hasher::new();
            crc.update(to);
            Ok((crc, bad(to).map(|at| first + at)))
        })?;
        for (crc, _) in &pieces {
            self.crc.combine(crc);
        }
        Ok(pieces.into_iter().find_map(|(_, bad)| bad))
    }

    /// Holds all that was read against the checksum.
    pub fn verify(&self) -> Result<(), String> {
        let Place { part, crc, .. } = self.place;
        let got = self.crc.clone().finalize();
        match got == crc {
            true => Ok(()),
            false => {
                Err(format!("{} is damaged: its checksum is {}, expected {}", part.name(), digits(got), digits(crc)))
            }
        }
    }
}

/// The rows of a saved memory, from the first to the last.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    saved: &'s SavedMemory,
    tensors: Vec<Reading>,
}

impl Reader<'_> {
    fn tensor(&mut self, part: Part) -> Option<&mut Reading> {
        self.tensors.iter_mut().find(|tensor| tensor.place.part == part)
    }

    /// The rows `rows`, which follow those that were read last, as `layout` stores them.
    pub fn rows(&mut self, rows: Range<usize>, layout: &Layout) -> Result<EncodedRows<'_>> {
        self.elements(Part::Keys, &rows, layout.dim)?;
        self.elements(Part::Values, &rows, layout.value_dim.unwrap_or(0))?;
        let fits = |scale: f32| scale.is_sign_positive() && (scale * 127.0).is_finite();
        for part in [Part::KeyScales, Part::ValueScales] {
            self.singles(part, &rows, "is not the scale of 127 finite levels", fits)?;
        }
        self.singles(Part::Bias, &rows, "is not finite", f32::is_finite)?;
        let of = |part: Part| self.tensors.iter().find(|tensor| tensor.place.part == part);
        let singles = |part: Part| of(part).map(|tensor| bytemuck::pod_collect_to_vec(&tensor.bytes));
        let encoded = |part: Part, scales: Part| {
            of(part).map(|tensor| Encoded {
                rows: if tensor.padded.is_empty() { &tensor.bytes[..] } else { &tensor.padded[..] }.into(),
                scales: singles(scales).unwrap_or_else(|| vec![1.0; rows.len()]).into(),
            })
        };
        let Some(keys) = encoded(Part::Keys, Part::KeyScales) else {
            return Err(self.saved.fail("keys: no tensor of this name"));
        };
        Ok(EncodedRows {
            count: rows.len(),
            keys,
            values: encoded(Part::Values, Part::ValueScales),
            bias: singles(Part::Bias).map(Cow::Owned),
        })
    }

    /// Rows of keys or values, padded.
    fn elements(&mut self, part: Part, rows: &Range<usize>, columns: usize) -> Result<()> {
        let (saved, precision) = (self.saved, self.saved.contents.precision);
        let Some(tensor) = self.tensor(part) else { return Ok(()) };
        let row = columns * precision.bytes();
        let bad = tensor.read(&saved.source, (rows.start * row) as u64..(rows.end * row) as u64, |bytes| {
            let at = match precision {
                // Exponents of all ones: infinities and NaN.
                Precision::F32 | Precision::I8Exact => {
                    bad_element(bytes, |v| u32::from_le_bytes(v) & 0x7f80_0000 == 0x7f80_0000)
                }
                Precision::F16 => bad_element(bytes, |v| u16::from_le_bytes(v) & 0x7c00 == 0x7c00),
                // A scale has 127 levels to either side.
                Precision::I8 => bad_element(bytes, |[level]| level == 0x80),
            };
            at.map(|at| at * precision.bytes())
        })?;
        if let Some(at) = bad.map(|at| at / precision.bytes()) {
            let why =
                if precision == Precision::I8 { "is the level -128, expected -127 to 127" } else { "is not finite" };
            let (row, column) = (rows.start + at / columns, at % columns);
            return Err(saved.fail(&format!("{} row {row}, column {column} {why}", part.name())));
        }
        let stride = stride(columns) * precision.bytes();
        if stride != row {
            tensor.padded.clear();
            resize(LOAD, &mut tensor.padded, rows.len() * stride)?;
            for (to, from) in tensor.padded.chunks_exact_mut(stride).zip(tensor.bytes.chunks_exact(row)) {
                to[..row].copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// One float a row, all of which must fit.
    fn singles(&mut self, part: Part, rows: &Range<usize>, why: &str, fits: impl Fn(f32) -> bool + Sync) -> Result<()> {
        let saved = self.saved;
        let Some(tensor) = self.tensor(part) else { return Ok(()) };
        let bad = tensor.read(&saved.source, 4 * rows.start as u64..4 * rows.end as u64, |bytes| {
            bad_element(bytes, |v| !fits(f32::from_le_bytes(v))).map(|at| 4 * at)
        })?;
        match bad.map(|at| at / 4) {
            None => Ok(()),
            Some(at) => {
                let value = f32::from_le_bytes(tensor.bytes.as_chunks().0[at]);
                Err(saved.fail(&format!("{} row {} is {value}, which {why}", part.name(), rows.start + at)))
            }
        }
    }

    /// Compares all that was read with the checksums, once all rows have been read.
    pub fn verify(&self) -> Result<()> {
        // Ids are verified where they are read.
        let mut rows = self.tensors.iter().filter(|tensor| tensor.place.part != Part::Ids);
        rows.try_for_each(Reading::verify).map_err(|why| self.saved.fail(&why))
    }
}

/// The first element of `N` bytes that is `bad`.
fn bad_element<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    first_bad(bytes.as_chunks().0, bad)
}
