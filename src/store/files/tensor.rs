//! A tensor in a mapped file, and its numbers.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use half::f16;
use memmap2::Mmap;

use super::map::map;
use super::safetensors::Header;
use super::{Address, Located, npy, shape_text, unfit};
use crate::error::{Error, Result};

/// What a tensor is to a memory: it decides which dtypes fit, and messages say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `N x d`, f32 or f16.
    Keys,
    /// `N x dv`, f32 or f16.
    Values,
    /// `B x d`, f32 or f16.
    Queries,
    /// `N`, f32 or f16.
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

/// The type of a tensor's elements, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// A byte, or a truth value in one.
    U8,
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

/// A tensor in a mapped file: checked to be there in full and of a dtype that fits its role, and not read yet, so that
/// it may be larger than the machine's memory. Row-major.
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
/// assert_eq!(keys.floats(3..6)?.as_ref(), [4.0, 5.0, 6.0]); // the second row
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor {
    role: Role,
    address: Address,
    shape: Vec<usize>,
    dtype: Dtype,
    map: Mmap,
    data: Range<usize>,
}

const OPERATION: &str = "Tensor::open";
const READ: &str = "Tensor::floats";

impl Tensor {
    /// Opens the tensor at `address`.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read, is truncated or damaged, does not have the tensor, or has it in
    /// another dtype than its role allows.
    pub fn open(role: Role, address: &Address) -> Result<Self> {
        let map = map(OPERATION, address.path())?;
        let located = match address.tensor() {
            Some(tensor) => Header::read(&map).and_then(|header| header.locate(tensor)),
            None => npy::locate(&map),
        };
        let fail = |why: String| unfit(OPERATION, address.path(), format!("{address}: {why}"));
        let Located { dtype, shape, data } = located.map_err(fail)?;
        let dtype = match (dtype.as_str(), role) {
            ("U8" | "BOOL" | "|u1" | "|b1", Role::Mask) => Dtype::U8,
            (_, Role::Mask) => {
                let expected = "u8 or bool, 1 where a pattern may be used";
                return Err(fail(format!("mask has dtype {dtype}, expected {expected}")));
            }
            ("F32" | "<f4", _) => Dtype::F32,
            ("F16" | "<f2", _) => Dtype::F16,
            _ => {
                let (name, has) = (role.name(), role.verb("have", "has"));
                return Err(fail(format!("{name} {has} dtype {dtype}, expected f32 or f16 (little-endian)")));
            }
        };
        Ok(Self { role, address: address.clone(), shape, dtype, map, data })
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
        self.data.len() / self.dtype.bytes()
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

    /// The numbers `elements`, counted row by row, borrowed from the mapped file where they lie as the machine wants
    /// them.
    ///
    /// # Errors
    /// [`Error::File`] for a number that is NaN or infinite, naming it; [`Error::Parameter`] for elements that are not
    /// there.
    pub fn floats(&self, elements: Range<usize>) -> Result<Cow<'_, [f32]>> {
        if elements.start > elements.end || elements.end > self.len() {
            return Err(Error::Parameter {
                operation: READ,
                parameter: "elements",
                expected: "a rising range of elements of the tensor",
                got: format!("{elements:?} of {}", self.len()),
            });
        }
        let size = self.dtype.bytes();
        let bytes = &self.bytes()[elements.start * size..elements.end * size];
        let floats = match self.dtype {
            Dtype::F32 => floats(bytes),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|half| f16::from_le_bytes(*half).to_f32()).collect(),
            Dtype::U8 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
        };
        match floats.iter().position(|v| !v.is_finite()) {
            None => Ok(floats),
            Some(at) => {
                Err(self.refuse(elements.start + at, &format!("is {}; every value must be finite", floats[at])))
            }
        }
    }

    /// The bytes of a mask, row-major, each 0 or 1.
    ///
    /// # Errors
    /// [`Error::File`] for a tensor that is not of bytes, or a byte that is neither.
    pub fn flags(&self) -> Result<&[u8]> {
        if self.dtype != Dtype::U8 {
            return Err(self.unfit(READ, &format!("{} has no flags, which are bytes", self.role.name())));
        }
        let bytes = self.bytes();
        match bytes.iter().position(|b| *b > 1) {
            None => Ok(bytes),
            Some(at) => Err(self.refuse(at, &format!("is {}; a mask holds 0 and 1 only", bytes[at]))),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.map[self.data.clone()]
    }

    fn unfit(&self, operation: &'static str, why: &str) -> Error {
        unfit(operation, self.address.path(), format!("{}: {why}", self.address))
    }

    /// Refuses one element.
    fn refuse(&self, at: usize, why: &str) -> Error {
        let place = match self.shape[..] {
            [_, columns] => format!("row {}, column {}", at / columns, at % columns),
            _ => format!("element {at}"),
        };
        self.unfit(READ, &format!("{} {place} {why}", self.role.name()))
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

/// Little-endian floats, borrowed where they can be: the cast fails on an odd offset, which every format allows.
pub(super) fn floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(floats) if cfg!(target_endian = "little") => Cow::Borrowed(floats),
        _ => bytes.as_chunks().0.iter().map(|float| f32::from_le_bytes(*float)).collect(),
    }
}
