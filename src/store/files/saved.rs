//! A memory in a file: what its header says, what its tensors hold, and what of it is to be believed.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use memmap2::Mmap;
use safetensors::tensor::Dtype;

use super::map::map;
use super::safetensors::{Frame, Header};
use super::tensor::floats;
use super::write::replace;
use super::{refused, shape_text, unfit};
use crate::error::{Error, Result};
use crate::rule::{Rule, Separation, Similarity};
use crate::store::{Encoded, EncodedRows, Ids, Layout, Precision, stride};

/// What the format is called, and its version.
const FORMAT: &str = "attractor.memory";
const VERSION: u32 = 1;
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

/// Writes a memory to `path`, in full or not at all. `stored` gives some of the rows at the positions asked for, from the
/// first on; `piece` is how many to ask for.
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
    let Frame { head, places } = Frame::new(&contents.metadata(ids), &named);
    let place =
        |part: Part| tensors.iter().zip(&places).find(|((is, ..), _)| *is == part).map(|(_, place)| place.start);
    let alive = |rows: &Range<usize>| ids.alive().map(|alive| &alive[rows.clone()]);
    replace(SAVE, path, |file| {
        let mut put = |at: u64, bytes: &[u8]| put(file, at, bytes).map_err(refused(SAVE, path, "write"));
        put(0, &head)?;
        if let Some(start) = place(Part::Ids) {
            for first in (0..positions).step_by(1 << 16) {
                let last = positions.min(first + (1 << 16));
                let bytes: Vec<u8> = (first..last)
                    .flat_map(|position| ids.id(position).map_or(REMOVED, |id| id.0).to_le_bytes())
                    .collect();
                put(start + 8 * first as u64, &bytes)?;
            }
        }
        let mut first = 0;
        while first < positions {
            let rows = stored(first..positions.min(first + piece))?;
            let alive = alive(&(first..first + rows.count));
            let element = contents.precision.bytes();
            let mut put_rows = |part, encoded: &Encoded<'_>, columns: usize| match place(part) {
                Some(start) => {
                    let tight = tight(&encoded.rows, columns * element, stride(columns) * element, alive);
                    put(start + (first * columns * element) as u64, &tight)
                }
                None => Ok(()),
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
                if let (Some(start), Some(singles)) = (place(part), singles) {
                    put(start + 4 * first as u64, &tight(bytemuck::cast_slice(singles), 4, 4, alive))?;
                }
            }
            first += rows.count;
        }
        Ok(())
    })
}

fn put(file: &mut File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
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

/// Which bytes of a file each of its tensors has.
type Places = Vec<(Part, Range<usize>)>;

/// A saved memory, mapped: all of it checked but its rows, which are checked as they are read.
#[derive(Debug)]
pub(crate) struct Saved {
    path: PathBuf,
    map: Mmap,
    pub contents: Contents,
    pub positions: usize,
    next_id: u64,
    places: Places,
}

impl Saved {
    /// Opens `path`.
    pub fn open(path: &Path) -> Result<Self> {
        little_endian(LOAD)?;
        let map = map(LOAD, path)?;
        let fail = |why: String| unfit(LOAD, path, format!("{}: {why}", path.display()));
        let header = Header::read(&map).map_err(fail)?;
        let (contents, next_id) = contents(&header).map_err(fail)?;
        let (positions, places) = places(&header, &contents).map_err(fail)?;
        Ok(Self { path: path.to_owned(), map, contents, positions, next_id, places })
    }

    /// Which pattern is where.
    pub fn ids(&self) -> Result<Ids> {
        let ids = match self.bytes(Part::Ids) {
            Some(bytes) => {
                let ids = bytes.as_chunks().0.iter().map(|id| u64::from_le_bytes(*id));
                Ids::from_table(self.next_id, ids.map(|id| (id != REMOVED).then_some(id)))
            }
            None => Ids::consecutive(self.next_id, self.positions)
                .ok_or_else(|| format!("there are {} patterns, but next_id is {}", self.positions, self.next_id)),
        };
        ids.map_err(|why| self.fail(&format!("ids: {why}")))
    }

    /// Some of the rows, as `layout` stores them.
    pub fn rows(&self, rows: Range<usize>, layout: &Layout) -> Result<EncodedRows<'_>> {
        let encoded = |part, scales, columns| {
            Ok(Encoded { rows: self.elements(part, &rows, columns)?, scales: self.scales(scales, &rows)? })
        };
        Ok(EncodedRows {
            count: rows.len(),
            keys: encoded(Part::Keys, Part::KeyScales, layout.dim)?,
            values: layout.value_dim.map(|columns| encoded(Part::Values, Part::ValueScales, columns)).transpose()?,
            bias: self.singles(Part::Bias, &rows, "is not finite", f32::is_finite)?,
        })
    }

    /// Rows of keys or values, padded.
    fn elements(&self, part: Part, rows: &Range<usize>, columns: usize) -> Result<Cow<'_, [u8]>> {
        let precision = self.contents.precision;
        let row = columns * precision.bytes();
        let bytes = &self.bytes(part).unwrap_or_default()[rows.start * row..rows.end * row];
        let bad = match precision {
            // Exponents of all ones: infinities and NaN.
            Precision::F32 => position(bytes, |v| u32::from_le_bytes(v) & 0x7f80_0000 == 0x7f80_0000),
            Precision::F16 => position(bytes, |v| u16::from_le_bytes(v) & 0x7c00 == 0x7c00),
            // A scale has 127 levels to either side.
            Precision::I8 => position(bytes, |[level]| level == 0x80),
        };
        if let Some(at) = bad {
            let why =
                if precision == Precision::I8 { "is the level -128, expected -127 to 127" } else { "is not finite" };
            return Err(self.fail(&format!(
                "{} row {}, column {} {why}",
                part.name(),
                rows.start + at / columns,
                at % columns
            )));
        }
        let stride = stride(columns) * precision.bytes();
        if stride == row {
            return Ok(bytes.into());
        }
        let mut padded = vec![0; rows.len() * stride];
        for (to, from) in padded.chunks_exact_mut(stride).zip(bytes.chunks_exact(row)) {
            to[..row].copy_from_slice(from);
        }
        Ok(padded.into())
    }

    fn scales(&self, part: Part, rows: &Range<usize>) -> Result<Cow<'_, [f32]>> {
        let why = "is not the scale of 127 finite levels";
        let fits = |scale: f32| scale.is_sign_positive() && (scale * 127.0).is_finite();
        Ok(self.singles(part, rows, why, fits)?.unwrap_or_else(|| vec![1.0; rows.len()].into()))
    }

    /// One float a row, all of which fit; `None` where there is no such tensor.
    fn singles(
        &self,
        part: Part,
        rows: &Range<usize>,
        why: &str,
        fits: impl Fn(f32) -> bool,
    ) -> Result<Option<Cow<'_, [f32]>>> {
        let Some(bytes) = self.bytes(part) else { return Ok(None) };
        let floats = floats(&bytes[4 * rows.start..4 * rows.end]);
        match floats.iter().position(|float| !fits(*float)) {
            None => Ok(Some(floats)),
            Some(at) => {
                Err(self.fail(&format!("{} row {} is {}, which {why}", part.name(), rows.start + at, floats[at])))
            }
        }
    }

    fn bytes(&self, part: Part) -> Option<&[u8]> {
        self.places.iter().find(|(is, _)| *is == part).map(|(_, place)| &self.map[place.clone()])
    }

    fn fail(&self, why: &str) -> Error {
        unfit(LOAD, &self.path, format!("{}: {why}", self.path.display()))
    }
}

/// The first element of `N` bytes that is `bad`.
fn position<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    bytes.as_chunks().0.iter().position(|element| bad(*element))
}

/// What the metadata says: the contents and the next id.
fn contents(header: &Header) -> Result<(Contents, u64), String> {
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
        bias: number(text("bias")?, "bias")?,
        windows,
    };
    Ok((contents, next_id))
}

fn number<T: FromStr>(text: &str, name: &str) -> Result<T, String> {
    let what = if name == "bias" { "true or false" } else { "a number" };
    text.parse().map_err(|_| format!("metadata `{name}` is {text:?}, expected {what}"))
}

/// How many positions there are, and where the tensors lie that the metadata promises.
fn places(header: &Header, contents: &Contents) -> Result<(usize, Places), String> {
    let locate = |part: Part| header.locate(part.name()).map_err(|why| format!("{}: {why}", part.name()));
    let positions = locate(Part::Keys)?.shape.first().copied().unwrap_or(0);
    let mut places = Vec::new();
    for (part, dtype, shape) in contents.tensors(positions, header.tensor(Part::Ids.name()).is_some()) {
        let found = locate(part)?;
        if found.dtype != dtype.to_string() || found.shape != shape {
            let (name, got, expected) = (part.name(), shape_text(&found.shape), shape_text(&shape));
            return Err(format!("{name} is {} {got}, expected {dtype} {expected}", found.dtype));
        }
        places.push((part, found.data));
    }
    let together = contents.windows.iter().try_fold(0usize, |sum, rows| sum.checked_add(*rows));
    if !contents.windows.is_empty() && together != Some(positions) {
        return Err(format!("metadata `windows` does not add up to the {positions} rows of keys"));
    }
    Ok((positions, places))
}
