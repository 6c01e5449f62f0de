//! The picture: stored, damaged and recalled images under one another.

use std::io::Cursor;
use std::path::Path;

use attractor::files::write_whole;
use image::{ImageFormat, Rgb, RgbImage};

use harness::idx::Images;

use crate::failure::Failure;

const COLUMNS: usize = 20;
const BLOCKS: usize = 2;
/// Room between the images of a block, and around a block.
const GAP: usize = 3;
const MARGIN: usize = 14;
/// Small images are enlarged by a whole factor to about this height or width.
const SIDE: usize = 56;
const PAPER: Rgb<u8> = Rgb([38, 42, 51]);
const INK: Rgb<u8> = Rgb([168, 174, 186]);
/// The frame of an image that was not recalled.
const LOST: Rgb<u8> = Rgb([224, 64, 56]);

/// A row of every block.
pub struct Row<'a> {
    /// What stands beside it.
    pub label: String,
    /// Images, in the order of the stored ones.
    pub pixels: &'a [f32],
    /// Whether each is the stored image again, for a row of answers.
    pub found: Option<&'a [bool]>,
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

fn paint(stored: &Images, count: usize, rows: &[Row<'_>]) -> RgbImage {
    let (height, width, dim) = (stored.height, stored.width, stored.dim());
    let scale = (SIDE / height.max(width)).max(1);
    let (cell_height, cell_width) = (height * scale + GAP, width * scale + GAP);
    // Large images get fewer columns, so that the picture stays one that a screen can show.
    let columns = (COLUMNS * (SIDE + GAP) / cell_width).clamp(1, COLUMNS);
    let blocks = choose(stored.labels.as_deref(), count, columns);
    let indent = MARGIN + rows.iter().map(|row| row.label.len() * LETTER_WIDTH).max().unwrap_or(0) + MARGIN;
    let used = blocks.iter().map(Vec::len).max().unwrap_or(1);
    let block_height = rows.len() * cell_height - GAP + MARGIN;
    let size = (indent + used * cell_width - GAP + MARGIN, blocks.len() * block_height + MARGIN);
    let mut picture = RgbImage::from_pixel(size.0 as u32, size.1 as u32, PAPER);
    for (b, block) in blocks.iter().enumerate() {
        for (r, row) in rows.iter().enumerate() {
            let top = MARGIN + b * block_height + r * cell_height;
            // Images lower than a letter leave no room for labels.
            if height * scale >= 9 * DOT {
                write_label(&mut picture, &row.label, MARGIN, top + (height * scale - 7 * DOT) / 2);
            }
            for (column, &index) in block.iter().enumerate() {
                let left = indent + column * cell_width;
                if row.found.is_some_and(|found| !found[index]) {
                    fill(&mut picture, left - 2, top - 2, width * scale + 4, height * scale + 4, LOST);
                }
                for (at, &pixel) in row.pixels[index * dim..(index + 1) * dim].iter().enumerate() {
                    let grey = ((pixel + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
                    let (x, y) = (left + at % width * scale, top + at / width * scale);
                    fill(&mut picture, x, y, scale, scale, Rgb([grey; 3]));
                }
            }
        }
    }
    picture
}

/// A dot of a letter, in pixels; letters are 5 dots by 7, two more below the line, and a dot between.
const DOT: usize = 2;
const LETTER_WIDTH: usize = 6 * DOT;

/// The letters that the labels of `recall` need, a byte a row, the leftmost dot its highest bit of five.
const LETTERS: [(char, [u8; 9]); 15] = [
    ('a', [0, 0, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111, 0, 0]),
    ('d', [0b00001, 0b00001, 0b01101, 0b10011, 0b10001, 0b10011, 0b01101, 0, 0]),
    ('e', [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110, 0, 0]),
    ('f', [0b00110, 0b01001, 0b01000, 0b11100, 0b01000, 0b01000, 0b01000, 0, 0]),
    ('g', [0, 0, 0b01101, 0b10011, 0b10001, 0b10011, 0b01101, 0b00001, 0b01110]),
    ('m', [0, 0, 0b11010, 0b10101, 0b10101, 0b10101, 0b10101, 0, 0]),
    ('n', [0, 0, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001, 0, 0]),
    ('o', [0, 0, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0]),
    ('p', [0, 0, 0b10110, 0b11001, 0b10001, 0b11001, 0b10110, 0b10000, 0b10000]),
    ('r', [0, 0, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000, 0, 0]),
    ('s', [0, 0, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110, 0, 0]),
    ('t', [0b01000, 0b01000, 0b11100, 0b01000, 0b01000, 0b01001, 0b00110, 0, 0]),
    ('x', [0, 0, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0, 0]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110, 0, 0]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110, 0, 0]),
];
/// What stands for any other character but a space.
const DOT_LETTER: [u8; 9] = [0, 0, 0, 0, 0, 0b01100, 0b01100, 0, 0];

fn write_label(picture: &mut RgbImage, label: &str, left: usize, top: usize) {
    for (place, letter) in label.chars().enumerate() {
        let rows = match letter {
            ' ' => [0; 9],
            _ => LETTERS.iter().find(|(known, _)| *known == letter).map_or(DOT_LETTER, |(_, rows)| *rows),
        };
        for (y, row) in rows.iter().enumerate() {
            for x in (0..5).filter(|x| row >> (4 - x) & 1 == 1) {
                fill(picture, left + place * LETTER_WIDTH + x * DOT, top + y * DOT, DOT, DOT, INK);
            }
        }
    }
}

fn fill(picture: &mut RgbImage, left: usize, top: usize, width: usize, height: usize, colour: Rgb<u8>) {
    for y in top..top + height {
        for x in left..left + width {
            picture.put_pixel(x as u32, y as u32, colour);
        }
    }
}

/// Paints and writes a PNG of the first `count` images.
pub fn write(path: &Path, stored: &Images, count: usize, rows: &[Row<'_>]) -> Result<(), Failure> {
    let mut bytes = Cursor::new(Vec::new());
    paint(stored, count, rows)
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Failure::Work(format!("{}: cannot encode the picture: {error}", path.display())))?;
    Ok(write_whole(path, bytes.get_ref())?)
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
            let found = vec![false; count];
            let row = |label: &str, found| Row { label: label.into(), pixels: &pixels, found };
            let picture = paint(&stored, count, &[row("Σ?", None), row("softmax", Some(&found))]);
            assert!(picture.pixels().any(|&p| p == LOST) && picture.get_pixel(0, 0) == &PAPER);
            // Small images are enlarged; what is wide and low has no room for a label.
            assert_eq!(picture.pixels().any(|&p| p == INK), width < 2000);
        }
    }
}
