//! The IDX format, plain or gzip'd: images as MNIST has them.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// How many images are taken where `--patterns` does not say.
pub const DEFAULT_PATTERNS: usize = 1000;
/// The widest and highest image that a header may claim.
const MAX_SIDE: u32 = 4096;
/// The most pixels taken in: each becomes a float on the host, one on the device, and two doubles in the check.
const MAX_PIXELS: u64 = 1 << 28;

/// Images of one size, as patterns.
#[derive(Clone, Debug)]
pub struct Images {
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// Row-major, -1 for black to 1 for white.
    pub pixels: Vec<f32>,
    /// What each image shows, where that is known.
    pub labels: Option<Vec<u8>>,
}

impl Images {
    /// Pixels of one image.
    pub fn dim(&self) -> usize {
        self.height * self.width
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        self.pixels.len() / self.dim()
    }
}

/// Reads images, the first `patterns` of them where that is given.
pub fn read(mut source: impl Read, patterns: Option<usize>) -> Result<Images, String> {
    let mut magic = [0; 2];
    let peeked = read_up_to(&mut source, &mut magic).map_err(|error| format!("cannot read: {error}"))?;
    let whole = magic[..peeked].chain(source);
    match magic {
        [0x1f, 0x8b] => read_plain(MultiGzDecoder::new(whole), patterns),
        _ => read_plain(whole, patterns),
    }
}

/// Fills `buffer` as far as the source goes.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads `patterns` images and checks that the file holds all that its header claims. Memory is taken for images that
/// were read, never for images that a header only claims.
fn read_plain(mut source: impl Read, patterns: Option<usize>) -> Result<Images, String> {
    let unreadable = |error: std::io::Error| format!("cannot read: {error}");
    let mut header = [0; 16];
    let got = read_up_to(&mut source, &mut header).map_err(unreadable)?;
    let word = |i: usize| u32::from_be_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    if got >= 4 && word(0) != 0x0803 {
        return Err(format!("not an IDX file of images: its magic number is {:#010x}, expected 0x00000803", word(0)));
    }
    if got < header.len() {
        return Err(format!("truncated: an IDX header takes 16 bytes, the file holds {got}"));
    }
    let (count, height, width) = (u64::from(word(4)), word(8), word(12));
    if count == 0 || !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        return Err(format!(
            "its header claims {count} images of {height} x {width}, expected at least one image of 1 x 1 to \
             {MAX_SIDE} x {MAX_SIDE}"
        ));
    }
    let dim = u64::from(height) * u64::from(width);
    let taken = match patterns {
        Some(asked) if asked as u64 > count => {
            return Err(format!("holds {count} images, --patterns asks for {asked}"));
        }
        Some(asked) => asked as u64,
        None => count.min(DEFAULT_PATTERNS as u64),
    };
    if taken * dim > MAX_PIXELS {
        return Err(format!(
            "{taken} images of {height} x {width} are {} pixels, expected at most {MAX_PIXELS} (use --patterns)",
            taken * dim
        ));
    }
    // `take` and `read_to_end` grow the buffer as bytes come.
    let mut bytes = Vec::new();
    source.by_ref().take(taken * dim).read_to_end(&mut bytes).map_err(unreadable)?;
    let expected = count * dim;
    let rest = expected - bytes.len() as u64;
    let skipped = std::io::copy(&mut source.by_ref().take(rest), &mut std::io::sink()).map_err(unreadable)?;
    if skipped < rest {
        return Err(format!(
            "truncated: {count} images of {height} x {width} take {expected} bytes after the header, the file holds {}",
            bytes.len() as u64 + skipped
        ));
    }
    if read_up_to(&mut source, &mut [0]).map_err(unreadable)? > 0 {
        return Err(format!("too long: {count} images of {height} x {width} take {expected} bytes after the header"));
    }
    let pixels = bytes.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    Ok(Images { height: height as usize, width: width as usize, pixels, labels: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(count: u32, height: u32, width: u32, bytes: usize) -> Vec<u8> {
        let mut file: Vec<u8> = [0x0803, count, height, width].into_iter().flat_map(u32::to_be_bytes).collect();
        file.extend((0..bytes).map(|i| (i % 256) as u8));
        file
    }

    #[test]
    fn a_good_file_is_read() {
        let images = read(&idx(3, 2, 4, 24)[..], Some(2)).unwrap();
        assert_eq!((images.count(), images.height, images.width), (2, 2, 4));
        assert_eq!(images.pixels[8], 8.0 / 127.5 - 1.0);
    }

    #[test]
    fn bad_files_are_refused_in_words() {
        let refused = |file: &[u8], patterns, words: &str| {
            let why = read(file, patterns).unwrap_err();
            assert!(why.contains(words), "{why} lacks {words}");
        };
        refused(&[0, 0, 8, 1, 0, 0, 0, 1], None, "0x00000801");
        refused(&[], None, "truncated");
        refused(&idx(3, 2, 4, 23), None, "truncated");
        refused(&idx(3, 2, 4, 23), Some(1), "truncated");
        refused(&idx(3, 2, 4, 25), None, "too long");
        refused(&idx(0, 2, 4, 0), None, "0 images");
        refused(&idx(1, 0, 4, 0), None, "0 x 4");
        refused(&idx(1, u32::MAX, u32::MAX, 0), None, "4294967295");
        refused(&idx(u32::MAX, 4096, 4096, 0), None, "use --patterns");
        refused(&idx(u32::MAX, 28, 28, 0), None, "truncated");
        refused(&idx(3, 2, 4, 24), Some(4), "asks for 4");
    }
}
