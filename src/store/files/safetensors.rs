//! The safetensors format: eight bytes with the length of a header, the header as JSON, and tensors side by side.

use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};

use super::located::Located;
use super::source::Source;
use crate::error::Result;

/// Bytes of the header's length.
const LENGTH: usize = 8;
/// The longest header of the format.
const LONGEST: u64 = 100_000_000;

/// A header that has been checked: its tensors lie side by side, without gap or overlap, and fill the file.
pub(super) struct Header {
    metadata: Metadata,
    /// Where the first tensor starts.
    data: u64,
}

impl Header {
    /// The header of a whole file. What frames it is read here rather than by the crate, which adds sizes that the file
    /// claims without a check for overflow.
    pub fn read(operation: &'static str, source: &Source) -> Result<Result<Self, String>> {
        let damaged = |why: String| Ok(Err(format!("not a complete safetensors file (truncated or damaged): {why}")));
        let all = source.length();
        if all < LENGTH as u64 {
            return damaged(format!("{all} bytes"));
        }
        let mut length = [0; LENGTH];
        source.read(operation, 0, &mut length)?;
        let length = u64::from_le_bytes(length);
        let rest = all - LENGTH as u64;
        if length > LONGEST || length > rest {
            return damaged(format!("a header of {length} bytes in a file of {all}"));
        }
        let data = LENGTH as u64 + length;
        let text = source.bytes(operation, LENGTH as u64..data)?;
        let metadata: Metadata = match serde_json::from_slice(&text) {
            Ok(metadata) => metadata,
            Err(error) => return damaged(error.to_string()),
        };
        let (claimed, there) = (metadata.data_len(), all - data);
        match claimed as u64 == there {
            true => Ok(Ok(Self { metadata, data })),
            false => damaged(format!("tensors of {claimed} bytes, and {there} are there")),
        }
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<Located> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        Some(Located {
            dtype: match info.dtype {
                Dtype::F64 => Some(super::Dtype::F64),
                Dtype::F32 => Some(super::Dtype::F32),
                Dtype::F16 => Some(super::Dtype::F16),
                Dtype::BF16 => Some(super::Dtype::BF16),
                Dtype::U8 | Dtype::BOOL => Some(super::Dtype::U8),
                _ => None,
            },
            spelling: info.dtype.to_string(),
            shape: info.shape.clone(),
            data: self.data + start as u64..self.data + end as u64,
        })
    }

    /// [`Header::tensor`], or an error that says which there are.
    pub fn locate(&self, name: &str) -> Result<Located, String> {
        self.tensor(name).ok_or_else(|| {
            let mut names = self.metadata.offset_keys();
            names.sort_unstable();
            let more = if names.len() > 12 { ", ..." } else { "" };
            names.truncate(12);
            format!("no tensor of this name; the file has {}{more}", names.join(", "))
        })
    }

    /// An entry of the metadata.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(name).map(String::as_str)
    }
}

/// A file to be written.
pub(super) struct Frame {
    /// The length, the header, and what pads it so that every tensor is aligned.
    pub head: Vec<u8>,
    /// Where each tensor goes, in the order in which they were named.
    pub places: Vec<Range<u64>>,
}

impl Frame {
    /// A file of `tensors` (name, dtype, shape) with `metadata`; the same bytes for the same input.
    pub fn new(metadata: &[(&str, String)], tensors: &[(&str, Dtype, &[usize])]) -> Self {
        // As the crate has them: the widest elements first, so that none is out of line.
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(tensors[i].1.bitsize()), tensors[i].0));
        let mut header = Map::new();
        if !metadata.is_empty() {
            let metadata: Map<String, Value> =
                metadata.iter().map(|(name, text)| ((*name).to_owned(), text.as_str().into())).collect();
            header.insert("__metadata__".into(), metadata.into());
        }
        let mut places = vec![0..0; tensors.len()];
        let mut end = 0;
        for i in order {
            let (name, dtype, shape) = tensors[i];
            let bytes = (shape.iter().product::<usize>() * dtype.bitsize() / 8) as u64;
            let info = json!({ "dtype": dtype.to_string(), "shape": shape, "data_offsets": [end, end + bytes] });
            header.insert(name.into(), info);
            places[i] = end..end + bytes;
            end += bytes;
        }
        let mut text = Value::from(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(LENGTH), b' ');
        let head = [&(text.len() as u64).to_le_bytes(), text.as_slice()].concat();
        let first = head.len() as u64;
        let places = places.into_iter().map(|place| first + place.start..first + place.end).collect();
        Self { head, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Result<Header, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, file).unwrap();
        Header::read("test", &Source::open("test", &path).unwrap()).unwrap()
    }

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn a_frame_is_read_back() {
        let tensors = [("b", Dtype::U8, &[3][..]), ("a", Dtype::F32, &[2, 1]), ("c", Dtype::U64, &[1])];
        let frame = Frame::new(&[("what", "\"this\"".into())], &tensors);
        let start = frame.head.len() as u64;
        assert_eq!(start % 8, 0);
        assert_eq!(frame.places, [start + 16..start + 19, start + 8..start + 16, start..start + 8]);
        let whole = [frame.head.as_slice(), &[7; 19]].concat();
        let header = read(&whole).unwrap();
        assert_eq!(header.metadata("what"), Some("\"this\""));
        for ((name, dtype, shape), place) in tensors.iter().zip(&frame.places) {
            let found = header.locate(name).unwrap();
            assert_eq!((found.spelling, &found.shape[..]), (dtype.to_string(), *shape));
            assert_eq!(found.data, *place);
        }
        assert!(header.locate("d").err().unwrap().ends_with("the file has a, b, c"));
        assert!(safetensors::SafeTensors::deserialize(&whole).is_ok());
    }

    #[test]
    fn hostile_headers_are_refused() {
        let tensor = |shape: &str, from: u64, to: u64| {
            format!(r#"{{"dtype":"U8","shape":{shape},"data_offsets":[{from},{to}]}}"#)
        };
        let one = |shape: &str, from, to| format!(r#"{{"a":{}}}"#, tensor(shape, from, to));
        let refused = |header: &str, data| read(&file(header, data)).err().unwrap_or_else(|| panic!("{header}"));
        assert!(read(&file(&one("[4]", 0, 4), 4)).is_ok());
        for (header, data) in [
            (one("[4]", 0, 4), 3),
            (one("[4]", 0, 4), 5),
            (one("[4]", 1, 5), 5),
            (one("[4]", 4, 0), 4),
            (one("[5]", 0, 4), 4),
            (one("[9223372036854775807, 9]", 0, 4), 4),
            (one("[1152921504606846976]", 0, 1_152_921_504_606_846_976), 4),
            (one("[4]", 0, 4).replace("U8", "U9"), 4),
            (one("[-4]", 0, 4), 4),
            (format!(r#"{{"a":{},"b":{}}}"#, tensor("[4]", 0, 4), tensor("[4]", 2, 6)), 6),
            (format!(r#"{{"a":{},"b":{}}}"#, tensor("[4]", 0, 4), tensor("[4]", 0, 4)), 4),
            (format!(r#"{{"a":{},"b":{}}}"#, tensor("[2]", 0, 2), tensor("[2]", 4, 6)), 6),
            ("{\"__metadata__\":{\"a\":1}}".into(), 0),
            ("[".repeat(10_000), 0),
        ] {
            assert!(refused(&header, data).contains("truncated or damaged"), "{header}");
        }
        // Sizes whose sum with the header's overflows.
        let size = (1u64 << 61) - 1;
        let tensors = (0..8).map(|i| format!(r#""{i}":{}"#, tensor(&format!("[{size}]"), i * size, (i + 1) * size)));
        let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
        assert!(refused(&header, 0).contains("truncated or damaged"));
        for start in [&[1, 0, 0][..], &u64::MAX.to_le_bytes(), &100_000_001u64.to_le_bytes()] {
            assert!(read(start).is_err());
        }
    }
}
