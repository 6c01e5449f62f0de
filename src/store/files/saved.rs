//! A memory in a file: what its header says, what its tensors hold, and how both are checked.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use crc32fast::Hasher;
use safetensors::tensor::Dtype;

use super::safetensors::{Frame, Header};
use super::source::{Source, resize};
use super::tensor::first_bad;
use super::write::replace;
use super::{refused, shape_text, unfit};
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::rule::{Rule, Separation, Similarity};
use crate::store::{Encoded, EncodedRows, Ids, Layout, stride};

/// What the format is called, and its version.
const FORMAT: &str = "attractor.memory";
const VERSION: u32 = 2;
/// All metadata but the checksums of the tensors, in the order in which the checksum of the metadata takes it.
const METADATA: [&str; 14] = [
    "format",
    "version",
    "similarity",
    "separation",
    "alpha",
    "k",
    "beta",
    "dim",
    "value_dim",
    "precision",
    "saturate",
    "bias",
    "next_id",
    "windows",
];
/// The checksum of the metadata.
const CRC_METADATA: &str = "crc32.metadata";
/// What `ids` has where a pattern was removed.
const REMOVED: u64 = u64::MAX;
/// No id is as large: the next ones must be numbers, too.
const IDS: u64 = 1 << 63;
/// The most windows whose sizes a file says; each costs a window, however little is in it.
const WINDOWS: usize = 1 << 16;

const LOAD: &str = "Memory::load";
const SAVE: &str = "Memory::save";

const SIMILARITIES: [(&str, Similarity); 4] = [
    ("dot", Similarity::Dot),
    ("cosine", Similarity::Cosine),
    ("euclidean", Similarity::Euclidean),
    ("manhattan", Similarity::Manhattan),
];
const PRECISIONS: [(&str, Precision, Dtype); 3] =
    [("f32", Precision::F32, Dtype::F32), ("f16", Precision::F16, Dtype::F16), ("i8", Precision::I8, Dtype::I8)];

/// All of a memory but its rows.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub rule: Rule,
    pub dim: usize,
    pub value_dim: Option<usize>,
    pub precision: Precision,
    /// Whether rows that halves cannot hold are stored all the same.
    pub saturate: bool,
    pub bias: bool,
    /// How many rows lie together, for all of them in order; empty where that does not matter.
    pub windows: Vec<usize>,
}

impl Contents {
    fn metadata(&self, ids: &Ids) -> Vec<(&'static str, String)> {
        let mut all = vec![("format", FORMAT.into()), ("version", VERSION.to_string())];
        let named = SIMILARITIES.iter().find(|(_, similarity)| *similarity == self.rule.similarity);
        all.extend(named.map(|(name, _)| ("similarity", (*name).into())));
        let (separation, parameter) = match self.rule.separation {
            Separation::Softmax => ("softmax", None),
            Separation::Softmax1 => ("softmax1", None),
            Separation::Sparsemax => ("sparsemax", None),
            Separation::Entmax { alpha } => ("entmax", Some(("alpha", alpha.to_string()))),
            Separation::TopK { k } => ("topk", Some(("k", k.to_string()))),
        };
        all.push(("separation", separation.into()));
        all.extend(parameter);
        all.push(("beta", self.rule.beta.to_string()));
        all.push(("dim", self.dim.to_string()));
        all.extend(self.value_dim.map(|value_dim| ("value_dim", value_dim.to_string())));
        let named = PRECISIONS.iter().find(|(_, precision, _)| *precision == self.precision);
        all.extend(named.map(|(name, ..)| ("precision", (*name).into())));
        all.extend(self.saturate.then(|| ("saturate", "true".into())));
        all.push(("bias", self.bias.to_string()));
        all.push(("next_id", ids.next().to_string()));
        if (1..=WINDOWS).contains(&self.windows.len()) {
            let windows: Vec<String> = self.windows.iter().map(ToString::to_string).collect();
            all.push(("windows", windows.join(",")));
        }
        all
    }

    /// The tensors of a memory of `positions` positions, with the shape of each.
    fn tensors(&self, positions: usize, table: bool) -> Vec<(Part, Dtype, Vec<usize>)> {
        let dtype =
            PRECISIONS.iter().find(|(_, precision, _)| *precision == self.precision).map_or(Dtype::F32, |p| p.2);
        let scaled = self.precision == Precision::I8;
        let mut all = vec![(Part::Keys, dtype, vec![positions, self.dim])];
        let mut if_there = |there: bool, part, dtype, shape| {
            if there {
                all.push((part, dtype, shape));
            }
        };
        if_there(scaled, Part::KeyScales, Dtype::F32, vec![positions]);
        if_there(self.value_dim.is_some(), Part::Values, dtype, vec![positions, self.value_dim.unwrap_or(0)]);
        if_there(scaled && self.value_dim.is_some(), Part::ValueScales, Dtype::F32, vec![positions]);
        if_there(self.bias, Part::Bias, Dtype::F32, vec![positions]);
        if_there(table, Part::Ids, Dtype::U64, vec![positions]);
        all
    }
}

/// The tensors of a saved memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Keys,
    KeyScales,
    Values,
    ValueScales,
    Bias,
    Ids,
}

impl Part {
    const ALL: [Self; 6] = [Self::Keys, Self::KeyScales, Self::Values, Self::ValueScales, Self::Bias, Self::Ids];

    /// The name of its checksum in the metadata.
    fn checksum(self) -> &'static str {
        match self {
            Self::Keys => "crc32.keys",
            Self::KeyScales => "crc32.key_scales",
            Self::Values => "crc32.values",
            Self::ValueScales => "crc32.value_scales",
            Self::Bias => "crc32.bias",
            Self::Ids => "crc32.ids",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::KeyScales => "key_scales",
            Self::Values => "values",
            Self::ValueScales => "value_scales",
            Self::Bias => "bias",
            Self::Ids => "ids",
        }
    }
}

/// A checksum as the metadata has it.
fn digits(crc: u32) -> String {
    format!("{crc:08x}")
}

/// The checksum of the metadata, and of names, dtypes and shapes of the tensors.
fn metadata_checksum<'t>(
    text: impl Fn(&str) -> Option<&'t str>,
    tensors: impl Iterator<Item = (&'static str, String, Vec<usize>)>,
) -> u32 {
    let mut all = String::new();
    for name in METADATA.into_iter().chain(Part::ALL.map(Part::checksum)) {
        if let Some(text) = text(name) {
            // Writing to a String cannot fail.
            let _ = writeln!(all, "{name}={text}");
        }
    }
    for (name, dtype, shape) in tensors {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let _ = writeln!(all, "{name} {dtype} {}", shape.join(","));
    }
    crc32fast::hash(all.as_bytes())
}

/// Writes a memory to `path`, atomically. `stored` gives some of the rows at the positions asked for, from the first
/// on; `piece` is how many to ask for.
pub(crate) fn write<'a>(
    path: &Path,
    contents: &Contents,
    ids: &Ids,
    piece: usize,
    mut stored: impl FnMut(Range<usize>) -> Result<EncodedRows<'a>>,
) -> Result<()> {
    little_endian(SAVE)?;
    let positions = ids.positions();
    let tensors = contents.tensors(positions, ids.has_table());
    let named: Vec<_> = tensors.iter().map(|(part, dtype, shape)| (part.name(), *dtype, &shape[..])).collect();
    // The header comes first and has the checksums of what follows, whose length is known.
    let head = |checksums: &[u32]| {
        let mut metadata = contents.metadata(ids);
        metadata.extend(tensors.iter().zip(checksums).map(|((part, ..), crc)| (part.checksum(), digits(*crc))));
        let text = |name: &str| metadata.iter().find(|(is, _)| *is == name).map(|(_, text)| text.as_str());
        let shapes = tensors.iter().map(|(part, dtype, shape)| (part.name(), dtype.to_string(), shape.clone()));
        let crc = metadata_checksum(text, shapes);
        metadata.push((CRC_METADATA, digits(crc)));
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
        let mut first = 0;
        while first < positions {
            let rows = stored(first..positions.min(first + piece))?;
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
        }
        let checksums: Vec<u32> = outs.iter().map(|out| out.crc.clone().finalize()).collect();
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head(&checksums).head));
        written.map_err(refused(SAVE, path, "write"))
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

/// Rows are copied between the file, which is little-endian, and storage as they are.
fn little_endian(operation: &'static str) -> Result<()> {
    match cfg!(target_endian = "little") {
        true => Ok(()),
        false => Err(Error::Unsupported { operation, what: "a saved memory on a big-endian machine".into() }),
    }
}

/// Whether a header is that of a saved memory, of any version.
pub(super) fn is_saved(header: &Header) -> bool {
    header.metadata("format") == Some(FORMAT)
}

/// A tensor of a saved memory.
#[derive(Clone, Debug)]
struct Place {
    part: Part,
    /// Bytes of the file.
    data: Range<u64>,
    /// The checksum that its bytes must have.
    crc: u32,
}

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
/// assert_eq!((saved.dim(), saved.positions(), saved.rule()), (2, 2, Rule::softmax(4.0)));
/// let sharper = LoadOptions::default().rule(Rule::softmax(40.0));
/// assert_eq!(saved.load(&Device::cpu(), &sharper)?.rule(), Rule::softmax(40.0));
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Debug)]
pub struct SavedMemory {
    source: Source,
    contents: Contents,
    positions: usize,
    next_id: u64,
    places: Vec<Place>,
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
        let source = Source::open(LOAD, path)?;
        let fail = |why: String| unfit(LOAD, path, format!("{}: {why}", path.display()));
        let header = Header::read(LOAD, &source)?.map_err(fail)?;
        check_format(&header).map_err(fail)?;
        let (contents, next_id) = contents(&header).map_err(fail)?;
        let (positions, places) = places(&header, &contents).map_err(fail)?;
        Ok(Self { source, contents, positions, next_id, places })
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

    /// Positions in use, those of removed patterns included ([`Memory::positions`](crate::Memory::positions)).
    pub fn positions(&self) -> usize {
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

    /// Reads the rows, in order.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { saved: self, tensors: self.places.iter().cloned().map(Reading::new).collect() }
    }

    fn fail(&self, why: &str) -> Error {
        unfit(LOAD, self.path(), format!("{}: {why}", self.path().display()))
    }
}

/// A tensor that is being read from its first byte to its last.
#[derive(Debug)]
struct Reading {
    place: Place,
    crc: Hasher,
    /// What was read last.
    bytes: Vec<u8>,
    /// The same with padded rows, where they need padding.
    padded: Vec<u8>,
}

impl Reading {
    fn new(place: Place) -> Self {
        Self { place, crc: Hasher::new(), bytes: Vec::new(), padded: Vec::new() }
    }

    /// Reads its bytes `range`, which begin where the last ones ended, and returns the first that `bad` finds.
    fn read(
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
    fn verify(&self) -> Result<(), String> {
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
                Precision::F32 => bad_element(bytes, |v| u32::from_le_bytes(v) & 0x7f80_0000 == 0x7f80_0000),
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

/// Refuses what is no memory of this version, and metadata that is not as it was written.
fn check_format(header: &Header) -> Result<(), String> {
    match (header.metadata("format"), header.metadata("version").map(str::parse::<u32>)) {
        (Some(FORMAT), Some(Ok(VERSION))) => {}
        (Some(FORMAT), Some(Ok(version))) if version > VERSION => {
            return Err(format!(
                "a memory of version {version}, and this library reads version {VERSION}: it is newer"
            ));
        }
        (Some(FORMAT), _) => {
            let version = header.metadata("version").unwrap_or("");
            return Err(format!("a memory of version {version:?}, and this library reads version {VERSION}"));
        }
        _ => return Err(format!("not a saved memory (its metadata has no format {FORMAT})")),
    }
    let tensors = Part::ALL.into_iter().filter_map(|part| {
        let found = header.tensor(part.name())?;
        Some((part.name(), found.spelling, found.shape))
    });
    let got = digits(metadata_checksum(|name| header.metadata(name), tensors));
    match header.metadata(CRC_METADATA) {
        Some(expected) if expected == got => Ok(()),
        Some(expected) => Err(format!("the metadata is damaged: its checksum is {got}, expected {expected}")),
        None => Err(format!("metadata `{CRC_METADATA}` is missing")),
    }
}

/// What the metadata says: the contents and the next id.
fn contents(header: &Header) -> Result<(Contents, u64), String> {
    let text = |name: &str| header.metadata(name).ok_or_else(|| format!("metadata `{name}` is missing"));
    let unknown = |name: &str, text: &str| format!("metadata `{name}` is {text:?}, which is unknown");
    let similarity = text("similarity")?;
    let named = SIMILARITIES.iter().find(|(name, _)| *name == similarity);
    let similarity = named.ok_or_else(|| unknown("similarity", similarity))?.1;
    let separation = match text("separation")? {
        "softmax" => Separation::Softmax,
        "softmax1" => Separation::Softmax1,
        "sparsemax" => Separation::Sparsemax,
        "entmax" => Separation::Entmax { alpha: number(text("alpha")?, "alpha")? },
        "topk" => Separation::TopK { k: number(text("k")?, "k")? },
        other => return Err(unknown("separation", other)),
    };
    let rule = Rule::new(similarity, separation, number(text("beta")?, "beta")?);
    rule.validate().map_err(|error| match error {
        Error::Parameter { parameter, expected, got, .. } => {
            format!("metadata `{parameter}` is {got}, and must be {expected}")
        }
        error => error.to_string(),
    })?;
    let side = |name: &str| match number(text(name)?, name)? {
        0 => Err(format!("metadata `{name}` is 0, and must be at least 1")),
        side => Ok::<usize, String>(side),
    };
    let precision = text("precision")?;
    let named = PRECISIONS.iter().find(|(name, ..)| *name == precision);
    let precision = named.ok_or_else(|| unknown("precision", precision))?.1;
    let next_id = number(text("next_id")?, "next_id")?;
    if next_id > IDS {
        return Err(format!("metadata `next_id` is {next_id}, and must be at most {IDS}"));
    }
    let windows = match header.metadata("windows") {
        None => Vec::new(),
        Some(windows) if windows.split(',').count() > WINDOWS => {
            return Err(format!("metadata `windows` has more than {WINDOWS} windows"));
        }
        Some(windows) => windows.split(',').map(|rows| number(rows, "windows")).collect::<Result<_, _>>()?,
    };
    if windows.contains(&0) {
        return Err("metadata `windows` has a window without rows".into());
    }
    let contents = Contents {
        rule,
        dim: side("dim")?,
        value_dim: header.metadata("value_dim").map(|_| side("value_dim")).transpose()?,
        precision,
        saturate: header.metadata("saturate").map(|text| number(text, "saturate")).transpose()?.unwrap_or(false),
        bias: number(text("bias")?, "bias")?,
        windows,
    };
    Ok((contents, next_id))
}

fn number<T: FromStr>(text: &str, name: &str) -> Result<T, String> {
    let what = if ["bias", "saturate"].contains(&name) { "true or false" } else { "a number" };
    text.parse().map_err(|_| format!("metadata `{name}` is {text:?}, expected {what}"))
}

/// How many positions there are, and where the tensors lie that the metadata promises.
fn places(header: &Header, contents: &Contents) -> Result<(usize, Vec<Place>), String> {
    let locate = |part: Part| header.locate(part.name()).map_err(|why| format!("{}: {why}", part.name()));
    let positions = locate(Part::Keys)?.shape.first().copied().unwrap_or(0);
    let mut places = Vec::new();
    for (part, dtype, shape) in contents.tensors(positions, header.tensor(Part::Ids.name()).is_some()) {
        let found = locate(part)?;
        if found.spelling != dtype.to_string() || found.shape != shape {
            let (name, got, expected) = (part.name(), shape_text(&found.shape), shape_text(&shape));
            return Err(format!("{name} is {} {got}, expected {dtype} {expected}", found.spelling));
        }
        let name = part.checksum();
        let text = header.metadata(name).ok_or_else(|| format!("metadata `{name}` is missing"))?;
        let crc = u32::from_str_radix(text, 16).ok().filter(|crc| digits(*crc) == text);
        let crc = crc.ok_or_else(|| format!("metadata `{name}` is {text:?}, expected eight hexadecimal digits"))?;
        places.push(Place { part, data: found.data, crc });
    }
    let together = contents.windows.iter().try_fold(0usize, |sum, rows| sum.checked_add(*rows));
    if !contents.windows.is_empty() && together != Some(positions) {
        return Err(format!("metadata `windows` does not add up to the {positions} rows of keys"));
    }
    Ok((positions, places))
}
