//! Transposes rows of queries to panels, whose rows are coordinates, and back: one cache line of every query at a time,
//! because rows that are far apart compete for few sets of a cache.

#![allow(unsafe_code, reason = "a bounds check costs more than the copy of an element")]
#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::product::LINE;

/// Coordinates of a part, at most.
pub(super) const PART: usize = LINE;

/// Writes coordinates `part * PART ..` of rows of `dim` as rows of `width`, one column for each query. Coordinates and
/// queries beyond the last are not written.
#[inline(always)]
pub(super) fn into_panel(rows: &[f32], dim: usize, part: usize, to: &mut [f32], width: usize) {
    let (start, count) = (part * PART, PART.min(dim - part * PART));
    for (q, row) in rows.chunks_exact(dim).enumerate() {
        assert!(q + (count - 1) * width < to.len(), "the panel has a lane for every query");
        let row = &row[start..start + count];
        // SAFETY: `c` is below `count`, and the last is in bounds.
        each(count, |c| unsafe { *to.get_unchecked_mut(q + c * width) = *row.get_unchecked(c) });
    }
}

/// The inverse of [`into_panel`].
#[inline(always)]
pub(super) fn into_rows(panel: &[f32], width: usize, part: usize, to: &mut [f32], dim: usize) {
    let (start, count) = (part * PART, PART.min(dim - part * PART));
    for (q, row) in to.chunks_exact_mut(dim).enumerate() {
        assert!(q + (count - 1) * width < panel.len(), "the panel has a lane for every query");
        let row = &mut row[start..start + count];
        // SAFETY: `c` is below `count`, and the last is in bounds.
        each(count, |c| unsafe { *row.get_unchecked_mut(c) = *panel.get_unchecked(q + c * width) });
    }
}

/// Calls `visit` with `0..count`; the compiler unrolls the loop for [`PART`].
#[inline(always)]
fn each(count: usize, mut visit: impl FnMut(usize)) {
    match count {
        PART => (0..PART).for_each(visit),
        _ => (0..count).for_each(&mut visit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_and_back() {
        for dim in [1usize, 15, 16, 17, 31, 32, 50] {
            for (queries, width) in [(1, 4), (4, 4), (7, 8), (31, 32)] {
                let rows: Vec<f32> = (0..queries * dim).map(|i| i as f32 + 1.0).collect();
                let padded = dim.next_multiple_of(PART);
                let mut panel = vec![0.0; padded * width];
                let mut back = vec![f32::NAN; queries * dim];
                for part in 0..padded / PART {
                    let to = &mut panel[part * PART * width..(part + 1) * PART * width];
                    into_panel(&rows, dim, part, to, width);
                    into_rows(to, width, part, &mut back, dim);
                }
                for c in 0..padded {
                    for q in 0..width {
                        let expected = if c < dim && q < queries { rows[q * dim + c] } else { 0.0 };
                        assert_eq!(panel[c * width + q], expected, "{queries} x {dim}: {q} {c}");
                    }
                }
                assert_eq!(back, rows, "{queries} x {dim}");
            }
        }
    }
}
