//! Slices divided into parts, each written by one thread.

use std::ops::Range;
use std::sync::Mutex;

use crate::sync::lock;

/// Takes the first `length` elements, or all if there are fewer.
#[expect(clippy::mut_mut, reason = "the remaining slice gets shorter")]
pub(super) fn cut<'a, T>(from: &mut &'a mut [T], length: usize) -> &'a mut [T] {
    let length = length.min(from.len());
    from.split_off_mut(..length).expect("at most as many as there are")
}

/// One row divided into `ranges`, which are consecutive from its start. Each part is taken once.
pub(super) fn ranges_of<'a>(row: Option<&'a mut [f32]>, ranges: &[Range<usize>]) -> Vec<Mutex<Option<&'a mut [f32]>>> {
    let Some(mut row) = row else { return Vec::new() };
    ranges.iter().map(|range| Mutex::new(Some(cut(&mut row, range.len())))).collect()
}

/// Takes the part of range `number`, if there is one.
pub(super) fn taken<'a>(parts: &[Mutex<Option<&'a mut [f32]>>], number: usize) -> Option<&'a mut [f32]> {
    lock(parts.get(number)?).take()
}
