//! A tensor in a file, and its numbers.

use std::fmt;
use std::ops::Range;

use half::{bf16, f16};

use super::address::Address;
use super::contents::is_saved;
use super::dtype::Dtype;
use super::located::{Located, shape_text};
use super::npy;
use super::safetensors::Header;
use super::source::{Source, resize, room};
use crate::error::{Error, Result};
use crate::file_error::unfit;

/// What a tensor is to a memory: it decides which dtypes fit, and messages say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `N x d`, floats of any [`Dtype`].
    Keys,
    /// `N x dv`, floats.
    Values,
    /// `B x d`, floats.
    Queries,
    /// `N`, floats.
    Bias,
    /// `N` or `B x N`, u8 or bool: 1 where a pattern may be used.
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

/// A tensor in a file: checked to be there in full and of a dtype that fits its role. Its numbers are read when they
/// are asked for, so that it may be larger than the machine's memory. Row-major.
///
/// Shown with `{}` it says role, place and shape: `keys of k.npy are 3 x 4`.
///
/// ```
/// use attractor::files::{Address, NewTensor, Role, Tensor, write_tensors};
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("model.safetensors");
/// write_tensors(&path, &[NewTensor::f32("k", &[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])?;
/// let keys = Tensor::open(Role::Keys, &Address::safetensors(&path, "k"))?;
/// assert_eq!(keys.matrix()?, (2, 3));
/// assert_eq!(keys.floats(3..6)?, [4.0, 5.0, 6.0]); // the second row
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor {
    role: Role,
    address: Address,
    shape: Vec<usize>,
    dtype: Dtype,
    source: Source,
    data: Range<u64>,
}

const OPERATION: &str = "Tensor::open";
const READ: &str = "Tensor::floats";

impl Tensor {
    /// Opens the tensor at `address`.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read, is no regular file, is truncated or damaged, does not have the
    /// tensor, or has it in another dtype than its role allows; and for patterns ([`Role::Keys`], [`Role::Values`],
    /// [`Role::Bias`]) of a saved memory, whose rule, scales and removed patterns bare tensors do not have.
    pub fn open(role: Role, address: &Address) -> Result<Self> {
        let source = Source::open(OPERATION, address.path())?;
        let fail = |why: String| unfit(OPERATION, address.path(), format!("{address}: {why}"));
        let located = match address.tensor() {
            Some(tensor) => {
                let header = Header::read(OPERATION, &source)?.map_err(fail)?;
                if matches!(role, Role::Keys | Role::Values | Role::Bias) && is_saved(&header) {
                    let path = address.path().display();
                    return Err(fail(format!(
                        "the file is a saved memory, not bare {}: use Memory::load, or --memory {path} (command line)",
                        role.name()
                    )));
                }
                header.locate(tensor)
            }
            None => npy::locate(OPERATION, &source)?,
        };
        let Located { dtype, spelling, shape, data } = located.map_err(fail)?;
        let floats = dtype.filter(|dtype| *dtype != Dtype::U8);
        let dtype = match role {
            Role::Mask => dtype.filter(|dtype| *dtype == Dtype::U8).ok_or_else(|| {
                fail(format!("mask has dtype {spelling}, expected u8 or bool, 1 where a pattern may be used"))
            }),
            _ => floats.ok_or_else(|| {
                let (name, has) = (role.name(), role.verb("have", "has"));
                fail(format!("{name} {has} dtype {spelling}, expected f32, f16, bf16 or f64 (little-endian)"))
            }),
        }?;
        Ok(Self { role, address: address.clone(), shape, dtype, source, data })
    }

    /// What it is to a memory.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its shape, as the file has it.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        (self.data.end - self.data.start) as usize / self.dtype.bytes()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// [`Error::File`] where it has not two dimensions, or nothing in one of them.
    pub fn matrix(&self) -> Result<(usize, usize)> {
        let fail = |expected: &str| {
            let (name, has) = (self.role.name(), self.role.verb("have", "has"));
            let shape = shape_text(&self.shape);
            self.unfit(OPERATION, &format!("{name} {has} shape {shape}, expected {expected}"))
        };
        match self.shape[..] {
            [0, _] | [_, 0] => Err(fail("at least one row and one column")),
            [rows, columns] => Ok((rows, columns)),
            _ => {
                let rows = if self.role == Role::Queries { "B" } else { "N" };
                Err(fail(&format!("two dimensions, {rows} rows by columns")))
            }
        }
    }

    /// The numbers `elements`, counted row by row, rounded to f32.
    ///
    /// # Errors
    /// [`Error::File`] for a number that is not finite in f32, naming it, and where the file can no longer be read;
    /// [`Error::Parameter`] for elements that are not there; [`Error::OutOfMemory`].
    pub fn floats(&self, elements: Range<usize>) -> Result<Vec<f32>> {
        let mut floats = Vec::new();
        self.read_floats(elements, &mut floats)?;
        Ok(floats)
    }

    /// [`Tensor::floats`] into a buffer that is used again.
    pub(super) fn read_floats(&self, elements: Range<usize>, floats: &mut Vec<f32>) -> Result<()> {
        let start = self.check(READ, &elements)?;
        resize(READ, floats, elements.len())?;
        let size = self.dtype.bytes();
        let pieces = Source::pieces(floats, |first, to| {
            let at = start + (first * size) as u64;
            let place = |bad: Option<(usize, f64)>| bad.map(|(at, value)| (first + at, value));
            if self.dtype == Dtype::F32 && cfg!(target_endian = "little") {
                self.source.read(READ, at, bytemuck::cast_slice_mut(to))?;
                return Ok(place(not_finite(to).map(|at| (at, f64::from(to[at])))));
            }
            let mut bytes = vec![0; to.len() * size];
            self.source.read(READ, at, &mut bytes)?;
            match self.dtype {
                Dtype::F64 => convert(to, &bytes, |v| f64::from_le_bytes(v) as f32),
                Dtype::F32 => convert(to, &bytes, f32::from_le_bytes),
                Dtype::F16 => convert(to, &bytes, |v| f16::from_le_bytes(v).to_f32()),
                Dtype::BF16 => convert(to, &bytes, |v| bf16::from_le_bytes(v).to_f32()),
                Dtype::U8 => convert(to, &bytes, |[v]| f32::from(v)),
            }
            Ok(place(not_finite(to).map(|at| match self.dtype {
                // As the file has it: it may be finite there.
                Dtype::F64 => (at, f64::from_le_bytes(bytes.as_chunks().0[at])),
                _ => (at, f64::from(to[at])),
            })))
        })?;
        match pieces.into_iter().flatten().next() {
            None => Ok(()),
            Some((at, value)) => {
                let why = match value.is_finite() {
                    true => "which is not finite in f32",
                    false => "every value must be finite",
                };
                let mark = if value.is_finite() { "," } else { ";" };
                Err(self.refuse(READ, elements.start + at, &format!("is {value:?}{mark} {why}")))
            }
        }
    }

    /// The bytes `elements` of a mask, row-major, each 0 or 1.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor that is not of bytes, for a byte that is neither, and where the file can no longer
    /// be read; [`Error::Parameter`] for elements that are not there; [`Error::OutOfMemory`].
    pub fn flags(&self, elements: Range<usize>) -> Result<Vec<u8>> {
        const OPERATION: &str = "Tensor::flags";
        if self.dtype != Dtype::U8 {
            return Err(self.unfit(OPERATION, &format!("{} has no flags, which are bytes", self.role.name())));
        }
        let start = self.check(OPERATION, &elements)?;
        let mut flags = room(OPERATION, elements.len())?;
        self.source.read(OPERATION, start, &mut flags)?;
        match flags.iter().position(|b| *b > 1) {
            None => Ok(flags),
            Some(at) => {
                let why = format!("is {}; a mask holds 0 and 1 only", flags[at]);
                Err(self.refuse(OPERATION, elements.start + at, &why))
            }
        }
    }

    /// Where `elements` begin in the file, if it has them.
    fn check(&self, operation: &'static str, elements: &Range<usize>) -> Result<u64> {
        if elements.start > elements.end || elements.end > self.len() {
            return Err(Error::Parameter {
                operation,
                parameter: "elements",
                expected: "a rising range of elements of the tensor",
                got: format!("{elements:?} of {}", self.len()),
            });
        }
        Ok(self.data.start + (elements.start * self.dtype.bytes()) as u64)
    }

    fn unfit(&self, operation: &'static str, why: &str) -> Error {
        unfit(operation, self.address.path(), format!("{}: {why}", self.address))
    }

    /// Refuses one element.
    fn refuse(&self, operation: &'static str, at: usize, why: &str) -> Error {
        let place = match self.shape[..] {
            [_, columns] => format!("row {}, column {}", at / columns, at % columns),
            _ => format!("element {at}"),
        };
        self.unfit(operation, &format!("{} {place} {why}", self.role.name()))
    }

    /// Refuses this tensor for not fitting another.
    pub(super) fn unlike(&self, operation: &'static str, other: &Self, expected: &str) -> Error {
        unfit(operation, self.address.path(), format!("{self}, but {other}: expected {expected}"))
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, is) = (self.role.name(), self.role.verb("are", "is"));
        write!(f, "{name} of {} {is} {}", self.address, shape_text(&self.shape))
    }
}

fn convert<const N: usize>(to: &mut [f32], bytes: &[u8], float: impl Fn([u8; N]) -> f32) {
    for (to, bytes) in to.iter_mut().zip(bytes.as_chunks().0) {
        *to = float(*bytes);
    }
}

/// The first float that is NaN or infinite.
fn not_finite(floats: &[f32]) -> Option<usize> {
    first_bad(floats, |float| float.to_bits() & 0x7f80_0000 == 0x7f80_0000)
}

/// The first element that is `bad`. Without an exit within a stretch the loop is vector code.
pub(super) fn first_bad<T: Copy>(elements: &[T], bad: impl Fn(T) -> bool) -> Option<usize> {
    const STRETCH: usize = 4096;
    let stretch = elements.chunks(STRETCH).position(|part| part.iter().fold(false, |any, e| any | bad(*e)))?;
    let start = stretch * STRETCH;
    elements[start..].iter().position(|element| bad(*element)).map(|at| start + at)
}
