//! The one product behind both stages: a matrix that is read in place, by rows or by columns, times a panel whose rows
//! are one or two vectors wide, in register tiles.
#![allow(unsafe_code, reason = "a register tile has no room for the bounds of its sixteen streams")]
#![allow(clippy::inline_always, reason = "see `simd`")]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed as the matrices that they are")]
#![allow(clippy::int_plus_one, reason = "one row is a tile, too")]

use super::simd::Simd;

/// What one element of the left and one of the right add to a sum.
pub(super) trait Term: Copy {
    fn add<S: Simd>(self, simd: S, sum: S::Vector, left: S::Vector, right: S::Vector) -> S::Vector;
}

/// `a b`.
#[derive(Clone, Copy)]
pub(super) struct Times;
/// `(a - b)^2`.
#[derive(Clone, Copy)]
pub(super) struct Squared;
/// `|a - b|`.
#[derive(Clone, Copy)]
pub(super) struct Absolute;

impl Term for Times {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, sum: S::Vector, left: S::Vector, right: S::Vector) -> S::Vector {
        simd.mul_add(left, right, sum)
    }
}

impl Term for Squared {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, sum: S::Vector, left: S::Vector, right: S::Vector) -> S::Vector {
        let difference = simd.sub(left, right);
        simd.mul_add(difference, difference, sum)
    }
}

impl Term for Absolute {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, sum: S::Vector, left: S::Vector, right: S::Vector) -> S::Vector {
        simd.add(sum, simd.abs(simd.sub(left, right)))
    }
}

/// Floats of a cache line.
const LINE: usize = 16;

/// A matrix of `rows x depth` in place: element `(r, i)` is `data[r * row + i * step]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub depth: usize,
    pub row: usize,
    pub step: usize,
    /// Whether it is the next part of something that no cache holds.
    pub far: bool,
}

/// `sums = sums * shrink + left right`, with the term in place of the product: `right` is `left.depth x W` and `sums`
/// `left.rows x W`, where `W` is `V` vectors, and `shrink` has a factor for each of the `W` columns; without `shrink`
/// what was in the sums is forgotten. Each sum is one chain over the depth, whatever is beside it, added at last to what
/// there was: long sums are made of such chains, so that their rounding stays that of a chain and of their number.
#[inline(always)]
pub(super) fn product<S: Simd, T: Term, const V: usize>(
    simd: S,
    term: T,
    left: Matrix<'_>,
    right: &[f32],
    shrink: Option<&[f32]>,
    sums: &mut [f32],
) {
    let width = V * S::LANES;
    let Matrix { data, rows, depth, row, step, far } = left;
    assert!(rows > 0 && depth > 0 && (rows - 1) * row + (depth - 1) * step < data.len(), "the matrix is in its data");
    assert!(right.len() >= depth * width && sums.len() >= rows * width, "every row of the panels is there");
    let mut factors = [simd.splat(0.0); V];
    if let Some(shrink) = shrink {
        for v in 0..V {
            factors[v] = simd.read(&shrink[v * S::LANES..]);
        }
    }
    let kept = shrink.is_some();
    let mut at = 0;
    // SAFETY: rows `at .. at + M` are rows of the matrix and of the sums, by the conditions of the loops, and the
    // asserts say that these and the panel are there.
    unsafe {
        macro_rules! tiles {
            ($($count:literal)*) => {
                $(while at + $count <= rows {
                    // The rows that come next in memory are fetched while these are multiplied.
                    for ahead in (rows + at..rows + at + $count).filter(|_| far) {
                        for i in (0..depth).step_by(LINE) {
                            simd.prefetch(data.as_ptr().wrapping_add(ahead * row + i));
                        }
                    }
                    let (data, sums) = (data.as_ptr().add(at * row), sums.as_mut_ptr().add(at * width));
                    tile::<S, T, $count, V>(simd, term, depth, (data, row, step), right.as_ptr(), (kept, factors), sums);
                    at += $count;
                })*
            };
        }
        if S::MANY_REGISTERS {
            tiles!(12 8);
        }
        tiles!(4 1);
    }
}

/// # Safety
/// `left.0` is readable at `r * left.1 + i * left.2` for `r < M` and `i < depth`; `right` for `depth` rows and `sums` for
/// reading and writing `M` rows of `V` vectors each.
#[inline(always)]
unsafe fn tile<S: Simd, T: Term, const M: usize, const V: usize>(
    simd: S,
    term: T,
    depth: usize,
    left: (*const f32, usize, usize),
    right: *const f32,
    before: (bool, [S::Vector; V]),
    sums: *mut f32,
) {
    let width = V * S::LANES;
    let mut tile = [[simd.splat(0.0); V]; M];
    // SAFETY: every offset is within what the caller says is there.
    unsafe {
        for i in 0..depth {
            let mut columns = [simd.splat(0.0); V];
            for v in 0..V {
                columns[v] = simd.load(right.add(i * width + v * S::LANES));
            }
            let at = left.0.add(i * left.2);
            for m in 0..M {
                let element = simd.splat(*at.add(m * left.1));
                for v in 0..V {
                    tile[m][v] = term.add(simd, tile[m][v], element, columns[v]);
                }
            }
        }
        for m in 0..M {
            for v in 0..V {
                let to = sums.add(m * width + v * S::LANES);
                if before.0 {
                    tile[m][v] = simd.mul_add(simd.load(to), before.1[v], tile[m][v]);
                }
                simd.store(to, tile[m][v]);
            }
        }
    }
}
