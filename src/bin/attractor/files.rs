//! Tensors in and out of files: `file.npy` or `file.safetensors:tensor` in, safetensors out.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::failure::Failure;

/// A tensor's address as a flag gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    path: PathBuf,
    tensor: Option<String>,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ENDING: &str = ".safetensors:";
        if text.to_ascii_lowercase().ends_with(".npy") {
            return Ok(Self { path: text.into(), tensor: None });
        }
        // Not the first colon: a Windows path has one after its drive.
        match text.to_ascii_lowercase().find(ENDING) {
            Some(at) if text.len() > at + ENDING.len() => {
                let (path, tensor) = (&text[..at + ENDING.len() - 1], &text[at + ENDING.len()..]);
                Ok(Self { path: path.into(), tensor: Some(tensor.into()) })
            }
            _ => Err("expected file.npy or file.safetensors:tensor".into()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.tensor.as_ref().map_or(Ok(()), |tensor| write!(f, ":{tensor}"))
    }
}

/// What a tensor is to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Keys,
    Values,
    Queries,
    Bias,
    Mask,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Values => "values",
            Self::Queries => "queries",
            Self::Bias => "bias",
            Self::Mask => "mask",
        }
    }

    /// Keys have, a mask has.
    fn verb(self, plural: &'static str, singular: &'static str) -> &'static str {
        match self {
            Self::Keys | Self::Values | Self::Queries => plural,
            Self::Bias | Self::Mask => singular,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    /// A byte that is 0 or 1.
    Flag,
}

/// A tensor in a mapped file: checked to be there in full and of a fitting dtype, and not read yet.
#[derive(Debug)]
pub struct Array {
    role: Role,
    address: Address,
    /// Its shape, as the file has it.
    pub shape: Vec<usize>,
    map: Mmap,
    data: Range<usize>,
    element: Element,
}

impl Array {
    /// Opens the tensor at `address`.
    pub fn open(role: Role, address: &Address) -> Result<Self, Failure> {
        let map = map(&address.path)?;
        let located = match &address.tensor {
            Some(tensor) => in_safetensors(&map, tensor),
            None => in_npy(&map),
        };
        let fail = |why: String| Failure::Work(format!("{address}: {why}"));
        let Located { dtype, shape, data } = located.map_err(fail)?;
        let element = match (dtype.as_str(), role) {
            ("U8" | "BOOL" | "|u1" | "|b1", Role::Mask) => Element::Flag,
            (_, Role::Mask) => {
                let expected = "u8 or bool, 1 where a pattern may be used";
                return Err(fail(format!("mask has dtype {dtype}, expected {expected}")));
            }
            ("F32" | "<f4", _) => Element::F32,
            ("F16" | "<f2", _) => Element::F16,
            _ => {
                let (name, has) = (role.name(), role.verb("have", "has"));
                return Err(fail(format!("{name} {has} dtype {dtype}, expected f32 or f16 (little-endian)")));
            }
        };
        Ok(Self { role, address: address.clone(), shape, map, data, element })
    }

    /// Every number, row-major, borrowed from the mapped file where it lies as the machine wants it.
    pub fn floats(&self) -> Result<Cow<'_, [f32]>, Failure> {
        let bytes = self.bytes();
        let floats = match self.element {
            // The cast fails on an odd offset, which both formats allow.
            Element::F32 => match bytemuck::try_cast_slice(bytes) {
                Ok(floats) if cfg!(target_endian = "little") => Cow::Borrowed(floats),
                _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            },
            Element::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Element::Flag => bytes.iter().map(|&b| f32::from(b)).collect(),
        };
        match floats.iter().position(|v| !v.is_finite()) {
            None => Ok(floats),
            Some(at) => Err(self.refuse_element(at, &format!("is {}; every value must be finite", floats[at]))),
        }
    }

    /// The bytes of a mask, row-major, each 0 or 1.
    pub fn flags(&self) -> Result<&[u8], Failure> {
        let bytes = self.bytes();
        match bytes.iter().position(|b| *b > 1) {
            None => Ok(bytes),
            Some(at) => Err(self.refuse_element(at, &format!("is {}; a mask holds 0 and 1 only", bytes[at]))),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.map[self.data.clone()]
    }

    fn refuse_element(&self, at: usize, why: &str) -> Failure {
        let place = match self.shape[..] {
            [_, columns] => format!("row {}, column {}", at / columns, at % columns),
            _ => format!("element {at}"),
        };
        Failure::Work(format!("{}: {} {place} {why}", self.address, self.role.name()))
    }

    /// Role, place and shape, for messages.
    pub fn describe(&self) -> String {
        let (name, is) = (self.role.name(), self.role.verb("are", "is"));
        format!("{name} of {} {is} {}", self.address, shape_text(&self.shape))
    }

    /// Refuses this tensor for not fitting `other`.
    pub fn unlike(&self, other: &Self, expected: &str) -> Failure {
        Failure::Work(format!("{}, but {}: expected {expected}", self.describe(), other.describe()))
    }
}

/// A tensor of rows and columns, at least one of each.
#[derive(Debug)]
pub struct Matrix {
    pub array: Array,
    pub rows: usize,
    pub columns: usize,
}

impl Matrix {
    /// Opens the matrix at `address`.
    pub fn open(role: Role, address: &Address) -> Result<Self, Failure> {
        let array = Array::open(role, address)?;
        let fail = |expected: &str| {
            let (name, has) = (role.name(), role.verb("have", "has"));
            Failure::Work(format!("{address}: {name} {has} shape {}, expected {expected}", shape_text(&array.shape)))
        };
        let [rows, columns] = array.shape[..] else {
            let rows = if role == Role::Queries { "B" } else { "N" };
            return Err(fail(&format!("two dimensions, {rows} rows by columns")));
        };
        if rows == 0 || columns == 0 {
            return Err(fail("at least one row and one column"));
        }
        Ok(Self { array, rows, columns })
    }
}

fn shape_text(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".into(),
        [one] => format!("({one},)"),
        _ => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "),
    }
}

/// Maps a regular file that is not empty.
fn map(path: &Path) -> Result<Mmap, Failure> {
    let about = fs::metadata(path).map_err(Failure::file(path, "open"))?;
    if !about.is_file() {
        return Err(Failure::Work(format!("{}: not a regular file", path.display())));
    }
    if about.len() == 0 {
        return Err(Failure::Work(format!("{}: the file is empty", path.display())));
    }
    let file = File::open(path).map_err(Failure::file(path, "open"))?;
    // SAFETY: the map is only read, as plain numbers that may have any bits. Whoever shortens the file meanwhile ends
    // this program, as with every program that maps its inputs; files are mapped so that a memory larger than half the
    // machine's can still be loaded.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(Failure::file(path, "map"))
}

/// A tensor's place in a file.
struct Located {
    dtype: String,
    shape: Vec<usize>,
    data: Range<usize>,
}

fn in_safetensors(file: &[u8], tensor: &str) -> Result<Located, String> {
    let tensors = SafeTensors::deserialize(file)
        .map_err(|error| format!("not a complete safetensors file (truncated or damaged): {error}"))?;
    let Ok(view) = tensors.tensor(tensor) else {
        let mut names: Vec<&str> = tensors.names();
        names.sort_unstable();
        let more = if names.len() > 12 { ", ..." } else { "" };
        names.truncate(12);
        return Err(format!("no tensor of this name; the file has {}{more}", names.join(", ")));
    };
    // The view borrows from `file`; its distance from the start survives the parse.
    let start = view.data().as_ptr().addr() - file.as_ptr().addr();
    Ok(Located {
        dtype: format!("{:?}", view.dtype()),
        shape: view.shape().to_vec(),
        data: start..start + view.data().len(),
    })
}

/// Reads a NumPy header (format versions 1 to 3). Written out here because a file is not to be trusted: sizes are
/// checked before anything is multiplied, and nothing recurses.
fn in_npy(file: &[u8]) -> Result<Located, String> {
    const CUT: &str = "truncated: the file ends within its NPY header";
    if !file.starts_with(b"\x93NUMPY") {
        return Err("not an NPY file (its first bytes are not \\x93NUMPY)".into());
    }
    let (length, start) = match *file.get(6).ok_or(CUT)? {
        1 => (file.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        2 | 3 => (file.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
        version => return Err(format!("NPY format version {version} is unknown, expected 1, 2 or 3")),
    };
    let data = start + length.ok_or(CUT)?;
    let header =
        std::str::from_utf8(file.get(start..data).ok_or(CUT)?).map_err(|_| "the NPY header is not text".to_owned())?;
    let bad = || format!("the NPY header is not understood: {}", header.chars().take(120).collect::<String>());

    let value = |key: &str| {
        let at = ["'", "\""].iter().find_map(|q| header.find(&format!("{q}{key}{q}")))?;
        Some(header[at + key.len() + 2..].trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr").ok_or_else(bad)?;
    let quote = descr.chars().next().filter(|&c| c == '\'' || c == '"').ok_or_else(bad)?;
    let dtype = descr[1..].split_once(quote).ok_or_else(bad)?.0.to_owned();
    let fortran = value("fortran_order").ok_or_else(bad)?.starts_with("True");
    let shape = value("shape").and_then(|v| v.strip_prefix('(')).and_then(|v| v.split_once(')')).ok_or_else(bad)?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    if fortran && shape.len() > 1 {
        return Err("stored in Fortran order, expected C order (save np.ascontiguousarray(a))".into());
    }
    // The dtype's own size; one that is not known is refused by the caller, which names it.
    let item = match dtype.as_str() {
        "<f4" => 4,
        "<f2" => 2,
        "|u1" | "|b1" => 1,
        _ => return Ok(Located { dtype, shape, data: data..data }),
    };
    let expected = shape.iter().try_fold(item, |size: usize, &n| size.checked_mul(n));
    let got = file.len() - data;
    if expected != Some(got) {
        let expected = expected.map_or_else(|| "more than this machine can address".into(), |n| format!("{n} bytes"));
        let word = if expected.starts_with("more") || got < shape.iter().product::<usize>() * item {
            "truncated"
        } else {
            "too long"
        };
        return Err(format!("{word}: shape {} of {dtype} takes {expected}, the file holds {got}", shape_text(&shape)));
    }
    Ok(Located { dtype, shape, data: data..file.len() })
}

/// One tensor on its way out.
pub struct Tensor<'a> {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Tensor<'a> {
    /// A tensor of f32.
    pub fn f32(name: &'static str, shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        let bytes = little_endian(values.into(), |v| v.to_le_bytes());
        Self { name, dtype: Dtype::F32, shape: shape.into(), bytes }
    }

    /// A tensor of u32.
    pub fn u32(name: &'static str, shape: &[usize], values: impl Into<Cow<'a, [u32]>>) -> Self {
        let bytes = little_endian(values.into(), |v| v.to_le_bytes());
        Self { name, dtype: Dtype::U32, shape: shape.into(), bytes }
    }

    /// A tensor of u8, 1 where true.
    pub fn bool(name: &'static str, shape: &[usize], values: &[bool]) -> Self {
        let bytes = values.iter().map(|&v| u8::from(v)).collect();
        Self { name, dtype: Dtype::U8, shape: shape.into(), bytes }
    }

    /// Name and shape, for messages.
    pub fn describe(&self) -> String {
        format!("{} {}", self.name, shape_text(&self.shape))
    }
}

fn little_endian<T: bytemuck::NoUninit>(values: Cow<'_, [T]>, bytes: impl Fn(&T) -> [u8; 4]) -> Cow<'_, [u8]> {
    match values {
        Cow::Borrowed(values) if cfg!(target_endian = "little") => bytemuck::cast_slice(values).into(),
        values => values.iter().flat_map(bytes).collect(),
    }
}

/// Writes `tensors` to `path` as safetensors.
pub fn write_tensors(path: &Path, tensors: &[Tensor<'_>]) -> Result<(), Failure> {
    let fail = |error| Failure::Work(format!("{}: {error}", path.display()));
    let views = tensors
        .iter()
        .map(|t| Ok((t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map_err(fail)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let bytes = safetensors::serialize(views, None).map_err(fail)?;
    write_whole(path, &bytes)
}

/// Refuses a target that could never be written, before long work rather than after it.
pub fn check_target(path: &Path) -> Result<(), Failure> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(Failure::Work(format!("{}: a directory, expected a file to write", path.display())));
    }
    let parent = parent(path);
    if !parent.is_dir() {
        return Err(Failure::Work(format!("{}: cannot write: no directory {}", path.display(), parent.display())));
    }
    Ok(())
}

/// Writes the file in full or not at all: to a temporary neighbour, synced, then renamed onto the target.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    check_target(path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = parent(path).join(name);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The failure to report is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Failure::file(path, "write"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: usize) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(vec![0; data]);
        file
    }

    #[test]
    fn an_address_is_a_file_or_a_file_and_a_tensor() {
        let parse = |text: &str| text.parse::<Address>();
        assert_eq!(parse("a/b.npy"), Ok(Address { path: "a/b.npy".into(), tensor: None }));
        let tensor = Some("x:y".to_owned());
        assert_eq!(parse(r"C:\m.safetensors:x:y"), Ok(Address { path: r"C:\m.safetensors".into(), tensor }));
        for bad in ["", "a", "a.safetensors", "a.safetensors:", "a.bin:keys"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn npy_headers_are_read_in_every_spelling() {
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
            r#"{"shape":(2,3),"fortran_order":False,"descr":"<f4"}"#,
        ] {
            let file = npy(header, 24);
            let found = in_npy(&file).unwrap();
            assert_eq!((found.dtype.as_str(), &found.shape[..]), ("<f4", &[2, 3][..]));
            assert_eq!(found.data, file.len() - 24..file.len());
        }
    }

    #[test]
    fn hostile_npy_files_are_refused() {
        let refused = |file: &[u8]| in_npy(file).err().unwrap();
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 9999999999)}";
        assert!(refused(&npy(huge, 8)).contains("truncated"), "{}", refused(&npy(huge, 8)));
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
        assert!(refused(&npy(good, 23)).contains("truncated"));
        assert!(refused(&npy(good, 25)).contains("too long"));
        assert!(refused(&npy(&good.replace("False", "True"), 24)).contains("Fortran"));
        for header in
            ["", "{", "{'descr': <f4}", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "é'descr'é"]
        {
            assert!(refused(&npy(header, 24)).contains("not understood"), "{header}");
        }
        let whole = npy(good, 24);
        for cut in 0..whole.len() {
            assert!(in_npy(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("truncated"));
    }
}
