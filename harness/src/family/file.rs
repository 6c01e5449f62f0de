//! The file of a case: safetensors, with the system, its rule and its conventions as JSON in the metadata.

use std::collections::BTreeMap;
use std::path::Path;

use attractor::Error;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Why a case has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file is none of a case that is known, or what it holds does not go together.
    #[error("{0}")]
    Case(String),
    /// The library refused or failed.
    #[error(transparent)]
    Library(#[from] Error),
}

/// A tensor, row-major, whatever its type was.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape; no side is 0.
    pub shape: Vec<usize>,
    /// Its numbers, all finite.
    pub numbers: Vec<f64>,
}

impl Array {
    /// The numbers as `f32`.
    pub fn floats(&self) -> Vec<f32> {
        self.numbers.iter().map(|number| *number as f32).collect()
    }
}

/// A shape as it is printed.
pub fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Golden {
    case: Map<String, Value>,
    tensors: BTreeMap<String, Array>,
}

impl Golden {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let refuse = |why: String| Failure::Case(format!("{name}: {why}"));
        let about = std::fs::metadata(path).map_err(|error| refuse(format!("cannot read: {error}")))?;
        if !about.is_file() {
            return Err(refuse("not a file".into()));
        }
        if about.len() > MAX_BYTES {
            return Err(refuse(format!("{} bytes, of at most {MAX_BYTES}", about.len())));
        }
        let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot read: {error}")))?;
        Self::parse(&bytes).map_err(refuse)
    }

    /// Reads the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let not_tensors = |error| format!("not a safetensors file: {error}");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_tensors)?;
        let case = metadata.metadata().as_ref().and_then(|metadata| metadata.get("case"));
        let case = case.ok_or("not a case: its metadata has no `case`")?;
        let case: Value = serde_json::from_str(case).map_err(|error| format!("metadata `case`: {error}"))?;
        let Value::Object(case) = case else { return Err("metadata `case` is no JSON object".into()) };
        let file = SafeTensors::deserialize(bytes).map_err(not_tensors)?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in file.tensors() {
            let numbers = numbers(&name, tensor.dtype(), tensor.data())?;
            if numbers.is_empty() {
                return Err(format!("tensor `{name}` has no elements"));
            }
            if let Some(at) = numbers.iter().position(|number| !(*number as f32).is_finite()) {
                return Err(format!("tensor `{name}` holds {} at {at}, which is no finite f32", numbers[at]));
            }
            tensors.insert(name, Array { shape: tensor.shape().to_vec(), numbers });
        }
        Ok(Self { case, tensors })
    }

    /// A text of the metadata.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.case.get(name)?.as_str()
    }

    /// A number of the metadata.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.case.get(name)?.as_f64()
    }

    /// A number of the metadata, which it need not have.
    pub fn told(&self, name: &str) -> Result<Option<f64>, Failure> {
        let Some(value) = self.case.get(name) else { return Ok(None) };
        match self.number(name) {
            Some(number) => Ok(Some(number)),
            None => Err(Failure::Case(format!("metadata `{name}` is {value}, and must be a number"))),
        }
    }

    /// A count of the metadata, at least 1.
    pub fn count(&self, name: &str) -> Result<Option<u32>, Failure> {
        let Some(value) = self.case.get(name) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(Failure::Case(format!("metadata `{name}` is {value}, and must be a count from 1"))),
        }
    }

    /// The number that follows `before` in the first of these texts of the metadata that has one.
    pub fn number_after(&self, before: &str, names: &[&str]) -> Option<f64> {
        let number = |text: &str| {
            let (_, rest) = text.split_once(before)?;
            let rest = rest.trim_start();
            let end = rest.find(|c: char| !(c.is_ascii_digit() || ".-+eE".contains(c))).unwrap_or(rest.len());
            // A number at the end of a sentence has its full stop.
            rest[..end].trim_end_matches('.').parse::<f64>().ok()
        };
        names.iter().find_map(|name| number(self.text(name)?))
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<&Array, Failure> {
        self.tensors.get(name).ok_or_else(|| Failure::Case(format!("there is no tensor `{name}`")))
    }

    /// A tensor of so many sides.
    pub fn sides<const N: usize>(&self, name: &str) -> Result<([usize; N], &Array), Failure> {
        let array = self.tensor(name)?;
        let sides = <[usize; N]>::try_from(&array.shape[..]).map_err(|_| {
            Failure::Case(format!("tensor `{name}` is {}, and must have {N} sides", shape_text(&array.shape)))
        })?;
        Ok((sides, array))
    }

    /// A tensor of this shape.
    pub fn shaped(&self, name: &str, shape: &[usize]) -> Result<&Array, Failure> {
        let array = self.tensor(name)?;
        if array.shape == shape {
            return Ok(array);
        }
        let (got, expected) = (shape_text(&array.shape), shape_text(shape));
        Err(Failure::Case(format!("tensor `{name}` is {got}, and must be {expected}")))
    }
}

/// The elements of a tensor.
fn numbers(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f64>, String> {
    fn all<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    Ok(match dtype {
        Dtype::BOOL | Dtype::U8 => all(data, |bytes: [u8; 1]| f64::from(bytes[0])),
        Dtype::I8 => all(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
        Dtype::I16 => all(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        Dtype::I32 => all(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        Dtype::U32 => all(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
        Dtype::I64 => all(data, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::F16 => all(data, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
        Dtype::F32 => all(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::F64 => all(data, f64::from_le_bytes),
        other => return Err(format!("tensor `{name}` is of {other:?}, which no case uses")),
    })
}
