//! The header of a NumPy file.

use super::dtype::Dtype;
use super::located::{Located, shape_text};
use super::source::Source;
use crate::error::Result;

/// The longest header that NumPy reads from files that are not trusted.
const LONGEST: usize = 10_000;

/// Reads the header of a NumPy file (format versions 1 to 3), as NumPy does.
pub(super) fn locate(operation: &'static str, source: &Source) -> Result<Result<Located, String>> {
    let longest = (12 + LONGEST as u64).min(source.length());
    let start = source.bytes(operation, 0..longest)?;
    Ok(header(&start, source.length()))
}

/// The tensor of a file of `length` bytes that begins with `file`.
fn header(file: &[u8], length: u64) -> Result<Located, String> {
    const CUT: &str = "truncated: the file ends within its NPY header";
    if !file.starts_with(b"\x93NUMPY") {
        return Err("not an NPY file (its first bytes are not \\x93NUMPY)".into());
    }
    let version = file.get(6..8).ok_or(CUT)?;
    let (bytes, start) = match version {
        [1, 0] => (file.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        [2 | 3, 0] => (file.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
        _ => {
            let (major, minor) = (version[0], version[1]);
            return Err(format!("NPY format version {major}.{minor} is unknown, expected 1.0, 2.0 or 3.0"));
        }
    };
    let bytes = bytes.ok_or(CUT)?;
    let data = (start + bytes) as u64;
    if data > length {
        return Err(CUT.into());
    }
    if bytes > LONGEST {
        return Err(format!("its NPY header has {bytes} bytes, expected at most {LONGEST}"));
    }
    let text = std::str::from_utf8(file.get(start..start + bytes).ok_or(CUT)?)
        .map_err(|_| "the NPY header is not text".to_owned())?;
    let parsed = Parser { rest: text, longs: version[0] < 3 }.dictionary();
    let Fields { descr, fortran_order, shape } = parsed.map_err(|why| {
        let start: String = text.chars().take(120).collect();
        format!("the NPY header is not understood: {why}: {}", start.trim_end())
    })?;
    if fortran_order && shape.len() > 1 {
        return Err("stored in Fortran order, expected C order (save np.ascontiguousarray(a))".into());
    }
    let data = data..length;
    let dtype = match descr.as_str() {
        "<f8" => Dtype::F64,
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        "|u1" | "|b1" => Dtype::U8,
        // Refused by the caller, which names it.
        _ => return Ok(Located { dtype: None, spelling: descr, shape, data }),
    };
    let expected = shape.iter().try_fold(dtype.bytes() as u64, |size: u64, &n| size.checked_mul(n as u64));
    let got = data.end - data.start;
    if expected != Some(got) {
        let word = if expected.is_none_or(|expected| got < expected) { "truncated" } else { "too long" };
        let expected = expected.map_or_else(|| "more than this machine can address".into(), |n| format!("{n} bytes"));
        return Err(format!("{word}: shape {} of {descr} takes {expected}, the file holds {got}", shape_text(&shape)));
    }
    Ok(Located { dtype: Some(dtype), spelling: descr, shape, data })
}

/// The entries of a header.
struct Fields {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// A parser of the Python literals that NumPy takes for a header: a dictionary of these three keys, each exactly once
/// (of two, Python would take the last), with a string, `True` or `False`, and a tuple of whole numbers. Nothing
/// recurses.
struct Parser<'a> {
    rest: &'a str,
    /// Whether numbers may end in `L`, as Python 2 wrote them.
    longs: bool,
}

impl<'a> Parser<'a> {
    fn dictionary(mut self) -> Result<Fields, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.take("}") {
            let key = self.string()?;
            self.expect(":")?;
            let again = match key {
                "descr" => descr.replace(self.string()?).is_some(),
                "fortran_order" => fortran_order.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(format!("unknown key '{key}'")),
            };
            if again {
                return Err(format!("'{key}' is there twice"));
            }
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        self.space();
        if !self.rest.is_empty() {
            return Err("text after the closing brace".into());
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => {
                Ok(Fields { descr: descr.to_owned(), fortran_order, shape })
            }
            _ => Err("expected the keys 'descr', 'fortran_order' and 'shape'".into()),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!("expected {token}")),
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        for quote in ["'", "\""] {
            if self.take(quote) {
                let (text, rest) = self.rest.split_once(quote).ok_or("a string does not end")?;
                if text.contains(['\\', '\n', '\r']) {
                    return Err("a string with an escape".into());
                }
                self.rest = rest;
                return Ok(text);
            }
        }
        Err("expected a string".into())
    }

    fn truth(&mut self) -> Result<bool, String> {
        let word = self.word();
        match word {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err("fortran_order must be True or False".into()),
        }
    }

    /// Letters and digits.
    fn word(&mut self) -> &'a str {
        self.space();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            let word = self.word();
            let digits = if self.longs { word.strip_suffix('L').unwrap_or(word) } else { word };
            // Python takes 007 for an error, not for 7.
            let spelled = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let number =
                (spelled && (digits == "0" || !digits.starts_with('0'))).then(|| digits.parse().ok()).flatten();
            numbers.push(number.ok_or("shape must be a tuple of whole numbers")?);
            if !self.take(",") {
                self.expect(")")?;
                // In Python (6) is a number, and (6,) a tuple.
                return if numbers.len() == 1 { Err("shape must be a tuple".into()) } else { Ok(numbers) };
            }
        }
        Ok(numbers)
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

    fn read(file: &[u8]) -> Result<Located, String> {
        header(file, file.len() as u64)
    }

    #[test]
    fn npy_headers_are_read_in_every_spelling() {
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
            r#"{"shape":(2,3),"fortran_order":False,"descr":"<f4"}"#,
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L,), }",
            "{ 'shape' : ( 2 ,\n3 ) , 'fortran_order' :\tFalse , 'descr' : '<f4' }",
        ] {
            let file = npy(header, 24);
            let found = read(&file).unwrap();
            assert_eq!((found.dtype, &found.shape[..]), (Some(Dtype::F32), &[2, 3][..]));
            assert_eq!(found.data, file.len() as u64 - 24..file.len() as u64);
        }
        for (shape, expected, data) in [("()", &[][..], 8), ("(6,)", &[6], 48), ("(0, 4)", &[0, 4], 0)] {
            let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
            assert_eq!(read(&npy(&header, data)).unwrap().shape, expected);
        }
    }

    #[test]
    fn hostile_npy_files_are_refused() {
        let refused = |file: &[u8]| read(file).err().unwrap();
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 9999999999)}";
        assert!(refused(&npy(huge, 8)).contains("truncated"), "{}", refused(&npy(huge, 8)));
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
        assert!(refused(&npy(good, 23)).contains("truncated"));
        assert!(refused(&npy(good, 25)).contains("too long"));
        assert!(refused(&npy(&good.replace("False", "True"), 24)).contains("Fortran"));
        let whole = npy(good, 24);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("truncated"));
        let mut minor = npy(good, 24);
        minor[7] = 1;
        assert!(refused(&minor).contains("version 1.1"));
        let long = npy(&format!("{good}{}", " ".repeat(LONGEST)), 24);
        assert!(refused(&long).contains("at most 10000"));
    }

    #[test]
    fn dtypes_of_other_formats_are_unknown() {
        for descr in ["F32", "BF16", "U8", "f4", ">f4", "<i8", "", "<f4 "] {
            let found = read(&npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 3)}}"), 24));
            let found = found.unwrap();
            assert_eq!((found.dtype, found.spelling.as_str()), (None, descr));
        }
    }

    /// What `numpy.load` refuses, and a key that is there twice, of which Python would take the last.
    #[test]
    fn headers_that_numpy_refuses_are_refused() {
        let with =
            |fortran: &str, shape: &str| format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        assert!(read(&npy(&with("False", "(2, 3)"), 24)).is_ok());
        let mut headers: Vec<String> =
            ["1", "0", "'True'", "true", "false", "TRUE", "None", "True or False", "[True]", "Truely", "", "not True"]
                .iter()
                .map(|fortran| with(fortran, "(2, 3)"))
                .collect();
        headers.extend(
            [
                "(,6,,4)",
                "(6,,4)",
                "(,6)",
                "(,)",
                "(6)",
                "[2, 3]",
                "(2, 3",
                "2, 3",
                "6",
                "(-1,)",
                "(+6,)",
                "(06,)",
                "(0x6,)",
                "(6.0,)",
                "(6e0,)",
                "(1_0,)",
                "('6',)",
                "((6,),)",
                "(2 3)",
                "(2; 3)",
                "(True, 6)",
                "(6LL,)",
                "(L,)",
                "(2, 3))",
                "(99999999999999999999,)",
                "(٦,)",
            ]
            .iter()
            .map(|shape| with("False", shape)),
        );
        for header in [
            "",
            "{",
            "{}",
            "{'descr': <f4}",
            "é'descr'é",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} {}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\0",
            "{'descr': '<f4', 'fortran_order': False 'shape': (2, 3)}",
            "{,'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
            "{'descr': '<f4',, 'fortran_order': False, 'shape': (2, 3)}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'shape': (2, 3)}",
            "{'fortran_order': False, 'shape': (2, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'shape': (2, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), 'shape': (2, 3)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
            "{'descr': '<f4', 'fortran_order': True, 'fortran_order': False, 'shape': (2, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}",
            r"{'descr': '\x3cf4', 'fortran_order': False, 'shape': (2, 3)}",
            "('descr', '<f4', 'fortran_order', False, 'shape', (2, 3))",
        ] {
            headers.push(header.into());
        }
        for header in &headers {
            let why = read(&npy(header, 24)).err().unwrap_or_else(|| panic!("{header} is read"));
            assert!(why.contains("not understood"), "{header}: {why}");
        }
        println!("{} headers are refused", headers.len());
    }
}
