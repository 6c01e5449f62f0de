//! What the header of a saved memory says: its metadata, its tensors, and their checksums.

use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use safetensors::tensor::Dtype;

use super::located::{Located, shape_text};
use super::safetensors::Header;
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::rule::{Rule, Separation, Similarity, Update};
use crate::store::ids::Ids;

/// What the format is called, and its version.
const FORMAT: &str = "attractor.memory";
const VERSION: u32 = 3;
/// That of memories whose updates end with the weighted sums, which libraries of version 2 read, too.
const PLAIN_VERSION: u32 = 2;
/// All metadata but the checksums of the tensors, in the order in which the checksum of the metadata takes it.
const METADATA: [&str; 17] = [
    "format",
    "version",
    "similarity",
    "separation",
    "alpha",
    "k",
    "n",
    "threshold",
    "beta",
    "update",
    "dim",
    "value_dim",
    "precision",
    "saturate",
    "bias",
    "next_id",
    "windows",
];
/// The checksum of the metadata.
pub(super) const CRC_METADATA: &str = "crc32.metadata";
/// What `ids` has where a pattern was removed.
pub(super) const REMOVED: u64 = u64::MAX;
/// No id is as large: the next ones must be numbers, too.
const IDS: u64 = 1 << 63;
/// The most windows whose sizes a file says; each costs a window, however little is in it.
const WINDOWS: usize = 1 << 16;

pub(super) const LOAD: &str = "Memory::load";
pub(super) const SAVE: &str = "Memory::save";

/// The elements of keys and values in a file.
fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::F32 | Precision::I8Exact => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::I8 => Dtype::I8,
    }
}

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
    pub(super) fn metadata(&self, ids: &Ids) -> Vec<(&'static str, String)> {
        let plain = self.rule.update == Update::default();
        let version = if plain { PLAIN_VERSION } else { VERSION };
        let mut all = vec![("format", FORMAT.into()), ("version", version.to_string())];
        all.push(("similarity", self.rule.similarity.to_string()));
        all.push(("separation", self.rule.separation.name().into()));
        match self.rule.separation {
            Separation::Softmax | Separation::Softmax1 | Separation::Sparsemax | Separation::Linear => {}
            Separation::Entmax { alpha } => all.push(("alpha", alpha.to_string())),
            Separation::TopK { k } => all.push(("k", k.to_string())),
            Separation::Power { n } | Separation::Rectified { n } => all.push(("n", n.to_string())),
            Separation::Step { threshold } => all.push(("threshold", threshold.to_string())),
        }
        all.push(("beta", self.rule.beta.to_string()));
        all.extend((!plain).then(|| ("update", self.rule.update.to_string())));
        all.push(("dim", self.dim.to_string()));
        all.extend(self.value_dim.map(|value_dim| ("value_dim", value_dim.to_string())));
        all.push(("precision", self.precision.to_string()));
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
    pub(super) fn tensors(&self, positions: usize, table: bool) -> Vec<(Part, Dtype, Vec<usize>)> {
        let dtype = dtype(self.precision);
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
pub(super) enum Part {
    Keys,
    KeyScales,
    Values,
    ValueScales,
    Bias,
    Ids,
    EntryKeys,
    EntryKeyEnds,
    EntryMetadata,
    EntryMetadataEnds,
}

impl Part {
    /// Those of the memory itself, in the order in which the checksum of the metadata takes them.
    const ALL: [Self; 6] = [Self::Keys, Self::KeyScales, Self::Values, Self::ValueScales, Self::Bias, Self::Ids];

    /// The name of its checksum in the metadata.
    pub(super) fn checksum(self) -> &'static str {
        match self {
            Self::Keys => "crc32.keys",
            Self::KeyScales => "crc32.key_scales",
            Self::Values => "crc32.values",
            Self::ValueScales => "crc32.value_scales",
            Self::Bias => "crc32.bias",
            Self::Ids => "crc32.ids",
            Self::EntryKeys => "crc32.entry_keys",
            Self::EntryKeyEnds => "crc32.entry_key_ends",
            Self::EntryMetadata => "crc32.entry_metadata",
            Self::EntryMetadataEnds => "crc32.entry_metadata_ends",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::KeyScales => "key_scales",
            Self::Values => "values",
            Self::ValueScales => "value_scales",
            Self::Bias => "bias",
            Self::Ids => "ids",
            Self::EntryKeys => "entry_keys",
            Self::EntryKeyEnds => "entry_key_ends",
            Self::EntryMetadata => "entry_metadata",
            Self::EntryMetadataEnds => "entry_metadata_ends",
        }
    }
}

/// A checksum as the metadata has it.
pub(super) fn digits(crc: u32) -> String {
    format!("{crc:08x}")
}

/// The checksum of the metadata, and of names, dtypes and shapes of the tensors.
pub(super) fn metadata_checksum<'t>(
    text: impl Fn(&str) -> Option<&'t str>,
    tensors: impl Iterator<Item = (&'static str, String, Vec<usize>)>,
) -> u32 {
    lines_checksum(METADATA.into_iter().chain(Part::ALL.map(Part::checksum)), text, tensors)
}

/// The checksum of a line for each of the metadata `names` that is there, and of one for each of `tensors`.
pub(super) fn lines_checksum<'t>(
    names: impl Iterator<Item = &'static str>,
    text: impl Fn(&str) -> Option<&'t str>,
    tensors: impl Iterator<Item = (&'static str, String, Vec<usize>)>,
) -> u32 {
    let mut all = String::new();
    for name in names {
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

/// Rows are copied between the file, which is little-endian, and storage as they are.
pub(super) fn little_endian(operation: &'static str) -> Result<()> {
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
pub(super) struct Place {
    pub part: Part,
    /// Bytes of the file.
    pub data: Range<u64>,
    /// The checksum that its bytes must have.
    pub crc: u32,
}

/// Refuses what is no memory of this version, and metadata that is not as it was written.
pub(super) fn check_format(header: &Header) -> Result<(), String> {
    match (header.metadata("format"), header.metadata("version").map(str::parse::<u32>)) {
        (Some(FORMAT), Some(Ok(PLAIN_VERSION | VERSION))) => {}
        (Some(FORMAT), Some(Ok(version))) if version > VERSION => {
            return Err(format!(
                "a memory of version {version}, and this library reads versions up to {VERSION}: it is newer"
            ));
        }
        (Some(FORMAT), _) => {
            let version = header.metadata("version").unwrap_or("");
            return Err(format!(
                "a memory of version {version:?}, and this library reads versions {PLAIN_VERSION} and {VERSION}"
            ));
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
pub(super) fn contents(header: &Header) -> Result<(Contents, u64), String> {
    let text = |name: &str| header.metadata(name).ok_or_else(|| format!("metadata `{name}` is missing"));
    let unknown = |name: &str, text: &str| format!("metadata `{name}` is {text:?}, which is unknown");
    let similarity = text("similarity")?;
    let similarity: Similarity = similarity.parse().map_err(|_| unknown("similarity", similarity))?;
    let separation = match text("separation")? {
        "entmax" => Separation::Entmax { alpha: number(text("alpha")?, "alpha")? },
        "topk" => Separation::TopK { k: number(text("k")?, "k")? },
        "power" => Separation::Power { n: number(text("n")?, "n")? },
        "rectified" => Separation::Rectified { n: number(text("n")?, "n")? },
        "step" => Separation::Step { threshold: number(text("threshold")?, "threshold")? },
        // Without a parameter, which is metadata of its own.
        other => other.parse().map_err(|_| unknown("separation", other))?,
    };
    let update = header
        .metadata("update")
        .map_or(Ok(Update::default()), |text| text.parse().map_err(|_| unknown("update", text)))?;
    let rule = Rule::new(similarity, separation, number(text("beta")?, "beta")?).then(update);
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
    let precision: Precision = precision.parse().map_err(|_| unknown("precision", precision))?;
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

pub(super) fn locate(header: &Header, part: Part) -> Result<Located, String> {
    header.locate(part.name()).map_err(|why| format!("{}: {why}", part.name()))
}

/// Where a tensor of this dtype and shape lies, and its checksum.
pub(super) fn place(header: &Header, part: Part, dtype: Dtype, shape: &[usize]) -> Result<Place, String> {
    let found = locate(header, part)?;
    if found.spelling != dtype.to_string() || found.shape != shape {
        let (name, got, expected) = (part.name(), shape_text(&found.shape), shape_text(shape));
        return Err(format!("{name} is {} {got}, expected {dtype} {expected}", found.spelling));
    }
    let name = part.checksum();
    let text = header.metadata(name).ok_or_else(|| format!("metadata `{name}` is missing"))?;
    let crc = u32::from_str_radix(text, 16).ok().filter(|crc| digits(*crc) == text);
    let crc = crc.ok_or_else(|| format!("metadata `{name}` is {text:?}, expected eight hexadecimal digits"))?;
    Ok(Place { part, data: found.data, crc })
}

/// How many positions there are, and where the tensors lie that the metadata promises.
pub(super) fn places(header: &Header, contents: &Contents) -> Result<(usize, Vec<Place>), String> {
    let positions = locate(header, Part::Keys)?.shape.first().copied().unwrap_or(0);
    let mut places = Vec::new();
    for (part, dtype, shape) in contents.tensors(positions, header.tensor(Part::Ids.name()).is_some()) {
        places.push(place(header, part, dtype, &shape)?);
    }
    let together = contents.windows.iter().try_fold(0usize, |sum, rows| sum.checked_add(*rows));
    if !contents.windows.is_empty() && together != Some(positions) {
        return Err(format!("metadata `windows` does not add up to the {positions} rows of keys"));
    }
    Ok((positions, places))
}
