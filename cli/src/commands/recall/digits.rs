//! Images to remember: MNIST digits carried inside the program, or an IDX file.

use std::io::{BufReader, Read};
use std::path::Path;

use attractor::files::open_regular;
use flate2::read::MultiGzDecoder;
use harness::idx::{Images, read};

use crate::failure::Failure;

const IMAGES: &[u8] = include_bytes!("../../../assets/mnist/t10k-images-first1000-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../../../assets/mnist/t10k-labels-first1000-idx1-ubyte.gz");

/// The digits that come with the program: all, or the first `patterns`.
pub fn built_in(patterns: Option<usize>) -> Result<Images, Failure> {
    let mut images = read(IMAGES, patterns).map_err(|why| Failure::Work(format!("the built-in digits: {why}")))?;
    let mut labels = Vec::new();
    MultiGzDecoder::new(LABELS)
        .read_to_end(&mut labels)
        .map_err(|error| Failure::Work(format!("the built-in labels: {error}")))?;
    images.labels = labels.get(8..8 + images.count()).map(<[u8]>::to_vec);
    Ok(images)
}

/// The first images of an IDX file, plain or gzip'd.
pub fn open(path: &Path, patterns: Option<usize>) -> Result<Images, Failure> {
    let file = BufReader::new(open_regular(path)?);
    read(file, patterns).map_err(|why| Failure::Work(format!("{}: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_digits_are_a_thousand() {
        let images = built_in(None).unwrap();
        assert_eq!((images.count(), images.height, images.width), (1000, 28, 28));
        // The labels of the MNIST test set start so.
        assert_eq!(images.labels.unwrap()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
        assert!(images.pixels.iter().all(|p| (-1.0..=1.0).contains(p)));
        assert!(images.pixels.contains(&1.0) && images.pixels.contains(&-1.0));
    }
}
