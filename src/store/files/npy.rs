//! The header of a NumPy file.

use super::{Located, shape_text};

/// Reads a NumPy header (format versions 1 to 3). Written out here because a file is not to be trusted: sizes are
/// checked before anything is multiplied, and nothing recurses.
pub(super) fn locate(file: &[u8]) -> Result<Located, String> {
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
    fn npy_headers_are_read_in_every_spelling() {
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
            r#"{"shape":(2,3),"fortran_order":False,"descr":"<f4"}"#,
        ] {
            let file = npy(header, 24);
            let found = locate(&file).unwrap();
            assert_eq!((found.dtype.as_str(), &found.shape[..]), ("<f4", &[2, 3][..]));
            assert_eq!(found.data, file.len() - 24..file.len());
        }
    }

    #[test]
    fn hostile_npy_files_are_refused() {
        let refused = |file: &[u8]| locate(file).err().unwrap();
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
            assert!(locate(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("truncated"));
    }
}
