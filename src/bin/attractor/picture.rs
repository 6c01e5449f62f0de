//! The picture: stored, damaged and recalled images under one another.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use crate::digits::Images;
use crate::failure::Failure;
use crate::files::write_whole;

const COLUMNS: usize = 20;
const BLOCKS: usize = 2;
/// Room between the images of a block, and around a block.
const GAP: usize = 3;
const MARGIN: usize = 14;
/// Small images are enlarged by a whole factor to about this height or width.
const SIDE: usize = 56;
const PAPER: Rgb<u8> = Rgb([38, 42, 51]);
/// The frame of an image that was not recalled.
const LOST: Rgb<u8> = Rgb([224, 64, 56]);

/// The rows of every block, from the top.
pub struct Rows<'a> {
    pub stored: &'a Images,
    /// As many rows as were asked, in the order of the stored images.
    pub damaged: &'a [f32],
    pub recalled: &'a [f32],
    /// Whether each came back.
    pub found: &'a [bool],
}

/// The images to show, block by block: two of each digit in order where labels are known, then whatever is left.
fn choose(labels: Option<&[u8]>, count: usize, columns: usize) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..count).collect();
    let mut blocks = Vec::new();
    while blocks.len() < BLOCKS && !left.is_empty() {
        let mut block = Vec::new();
        if let Some(labels) = labels {
            for digit in 0..10 {
                block.extend(left.iter().copied().filter(|&i| labels[i] == digit).take(columns / 10));
            }
        }
        left.retain(|i| !block.contains(i));
        let more = left.len().min(columns - block.len());
        block.extend(left.drain(..more));
        if let Some(labels) = labels {
            block.sort_by_key(|&i| labels[i]);
        }
        blocks.push(block);
    }
    blocks
}

fn paint(rows: &Rows<'_>) -> RgbImage {
    let (height, width) = (rows.stored.height, rows.stored.width);
    let dim = rows.stored.dim();
    let scale = (SIDE / height.max(width)).max(1);
    let (cell_height, cell_width) = (height * scale + GAP, width * scale + GAP);
    // Large images get fewer columns, so that the picture stays one that a screen can show.
    let columns = (COLUMNS * (SIDE + GAP) / cell_width).clamp(1, COLUMNS);
    let blocks = choose(rows.stored.labels.as_deref(), rows.found.len(), columns);
    let used = blocks.iter().map(Vec::len).max().unwrap_or(1);
    let block_height = 3 * cell_height - GAP + MARGIN;
    let size = (used * cell_width - GAP + 2 * MARGIN, blocks.len() * block_height + MARGIN);
    let mut picture = RgbImage::from_pixel(size.0 as u32, size.1 as u32, PAPER);
    for (b, block) in blocks.iter().enumerate() {
        for (column, &index) in block.iter().enumerate() {
            for (row, pixels) in [&rows.stored.pixels, rows.damaged, rows.recalled].into_iter().enumerate() {
                let left = MARGIN + column * cell_width;
                let top = MARGIN + b * block_height + row * cell_height;
                if row == 2 && !rows.found[index] {
                    fill(&mut picture, left - 2, top - 2, width * scale + 4, height * scale + 4, LOST);
                }
                for (at, &pixel) in pixels[index * dim..(index + 1) * dim].iter().enumerate() {
                    let grey = ((pixel + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
                    let (x, y) = (left + at % width * scale, top + at / width * scale);
                    fill(&mut picture, x, y, scale, scale, Rgb([grey; 3]));
                }
            }
        }
    }
    picture
}

fn fill(picture: &mut RgbImage, left: usize, top: usize, width: usize, height: usize, colour: Rgb<u8>) {
    for y in top..top + height {
        for x in left..left + width {
            picture.put_pixel(x as u32, y as u32, colour);
        }
    }
}

/// Paints and writes a PNG.
pub fn write(path: &Path, rows: &Rows<'_>) -> Result<(), Failure> {
    let mut bytes = Cursor::new(Vec::new());
    paint(rows)
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Failure::Work(format!("{}: cannot encode the picture: {error}", path.display())))?;
    write_whole(path, bytes.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_shown_in_order() {
        let labels: Vec<u8> = (0..100).map(|i| (i * 7 % 10) as u8).collect();
        let blocks = choose(Some(&labels), 100, 20);
        assert_eq!(blocks.len(), 2);
        for block in &blocks {
            assert_eq!(
                block.iter().map(|&i| labels[i]).collect::<Vec<_>>(),
                (0..20).map(|i| i / 2).collect::<Vec<_>>()
            );
        }
        assert!(blocks[0].iter().all(|i| !blocks[1].contains(i)));
        assert_eq!(choose(None, 25, 20), [(0..20).collect::<Vec<_>>(), (20..25).collect()]);
        assert_eq!(choose(Some(&labels), 3, 20).concat().len(), 3);
    }

    #[test]
    fn images_of_any_size_fit() {
        for (height, width, count) in [(28, 28, 45), (1, 1, 3), (300, 7, 2), (5, 2000, 2)] {
            let pixels = vec![0.5; height * width * count];
            let stored = Images { height, width, pixels: pixels.clone(), labels: None };
            let picture =
                paint(&Rows { stored: &stored, damaged: &pixels, recalled: &pixels, found: &vec![false; count] });
            assert!(picture.pixels().any(|&p| p == LOST) && picture.get_pixel(0, 0) == &PAPER);
        }
    }
}
