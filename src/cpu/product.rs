//! The matrix product of both stages: a matrix read in place, by rows or by columns, times a panel whose rows are up to
//! four vectors wide, in register tiles.
#![allow(unsafe_code, reason = "bounds checks of sixteen streams would spill the registers of a tile")]
#![allow(clippy::inline_always, reason = "see `simd`")]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed as matrices")]
#![allow(clippy::int_plus_one, reason = "a tile of one row follows the pattern of the others")]

use crate::cpu::simd::vector::Simd;

/// The term that one element of the left and one of the right add to a sum.
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
pub(super) const LINE: usize = 16;

/// A matrix of `rows x depth` in place: element `(r, i)` is `data[r * row + i * step]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub depth: usize,
    pub row: usize,
    pub step: usize,
}

/// The software prefetch of the tile after the current one: a few cache lines in every turn of the loop over the
/// current tile, because many at once would delay the loads of the loop itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefetch {
    next: *const f32,
    /// Cache lines that remain.
    left: usize,
    /// Cache lines to fetch in every [`TURN`] of a register tile.
    each: usize,
}

/// Steps of a register tile from one fetch to the next.
const TURN: usize = 16;

impl Prefetch {
    /// Prefetches what follows `tile` in memory, over at least `turns` turns.
    pub fn after(tile: &[f32], turns: usize) -> Self {
        let left = tile.len().div_ceil(LINE);
        Self { next: tile.as_ptr().wrapping_add(tile.len()), left, each: left.div_ceil(turns.max(1)) }
    }

    /// Prefetches nothing.
    pub fn none() -> Self {
        Self { next: std::ptr::null(), left: 0, each: 0 }
    }

    /// The least number of turns of a product of `rows` rows of `depth` and a panel of `vectors` vectors.
    pub fn turns(rows: usize, depth: usize, vectors: usize) -> usize {
        // The largest register tiles.
        let tile = if vectors > 2 { 24 / vectors } else { 12 };
        (rows / tile).max(1) * (depth / TURN).max(1)
    }

    #[inline(always)]
    fn turn<S: Simd>(&mut self, simd: S) {
        let count = self.each.min(self.left);
        self.left -= count;
        for _ in 0..count {
            simd.prefetch_near(self.next);
            self.next = self.next.wrapping_add(LINE);
        }
    }
}

/// `sums = sums * shrink + left right`, with the term in place of the product: `right` is `left.depth x W` and `sums`
/// `left.rows x W`, where `W` is `V` vectors, and `shrink` has a factor for each of the `W` columns; without `shrink`
/// the sums are overwritten. Each sum is one chain over the depth, independent of its neighbours, added at the end to
/// the value before: long sums are computed as several chains, so that their rounding is that of one chain and of their
/// number.
#[inline(always)]
pub(super) fn product<S: Simd, T: Term, const V: usize>(
    simd: S,
    term: T,
    left: Matrix<'_>,
    right: &[f32],
    shrink: Option<&[f32]>,
    sums: &mut [f32],
    prefetch: &mut Prefetch,
) {
    let width = V * S::LANES;
    let Matrix { data, rows, depth, row, step } = left;
    assert!(
        rows > 0 && depth > 0 && (rows - 1) * row + (depth - 1) * step < data.len(),
        "the matrix is within its data"
    );
    assert!(right.len() >= depth * width && sums.len() >= rows * width, "the panels have every row");
    let mut factors = [simd.splat(0.0); V];
    if let Some(shrink) = shrink {
        for v in 0..V {
            factors[v] = simd.read(&shrink[v * S::LANES..]);
        }
    }
    let kept = shrink.is_some();
    let mut at = 0;
    // SAFETY: rows `at .. at + M` are rows of the matrix and of the sums, by the conditions of the loops, and the
    // asserts bound these and the panel.
    unsafe {
        macro_rules! tiles {
            ($($count:literal)*) => {
                $(while at + $count <= rows {
                    let (data, sums) = (data.as_ptr().add(at * row), sums.as_mut_ptr().add(at * width));
                    let (left, before) = ((data, row, step, depth), (kept, factors));
                    tile::<S, T, $count, V>(simd, term, left, right.as_ptr(), before, sums, prefetch);
                    at += $count;
                })*
            };
        }
        // As many sums as there are registers, beside the vectors of the panel and one element. A sum costs one
        // instruction, and so does a vector or an element; a tile that is nearly square needs the fewest of these.
        match V {
            ..=2 if V < S::PANEL => {
                tiles!(12);
            }
            3 => {
                tiles!(8);
            }
            _ => {
                tiles!(6);
            }
        }
        tiles!(4 2 1);
    }
}

/// # Safety
/// `left`, a pointer with the distances of its rows and steps and its depth, is readable at `r * row + i * step` for `r
/// < M` and `i < depth`; `right` is readable for `depth` rows, and `sums` readable and writable for `M` rows, of `V`
/// vectors each.
#[inline(always)]
unsafe fn tile<S: Simd, T: Term, const M: usize, const V: usize>(
    simd: S,
    term: T,
    left: (*const f32, usize, usize, usize),
    right: *const f32,
    before: (bool, [S::Vector; V]),
    sums: *mut f32,
    prefetch: &mut Prefetch,
) {
    let width = V * S::LANES;
    let (left, row, step, depth) = left;
    let mut tile = [[simd.splat(0.0); V]; M];
    // SAFETY: every offset is within the bounds that the caller guarantees.
    unsafe {
        let (mut at, mut right) = (left, right);
        macro_rules! one {
            ($after:literal) => {{
                let mut columns = [simd.splat(0.0); V];
                for v in 0..V {
                    columns[v] = simd.load(right.add($after * width + v * S::LANES));
                }
                for m in 0..M {
                    let element = simd.splat(*at.add($after * step + m * row));
                    for v in 0..V {
                        tile[m][v] = term.add(simd, tile[m][v], element, columns[v]);
                    }
                }
            }};
        }
        // Four steps in each turn of the loop: where another thread has half of a core's decoders, every instruction
        // that does not multiply costs time. A closure in place of the macro would be compiled without the
        // instructions.
        let mut left = depth;
        while left >= TURN {
            prefetch.turn(simd);
            for _ in 0..TURN / 4 {
                one!(0);
                one!(1);
                one!(2);
                one!(3);
                (at, right) = (at.wrapping_add(4 * step), right.wrapping_add(4 * width));
            }
            left -= TURN;
        }
        if left > 0 {
            prefetch.turn(simd);
        }
        for _ in 0..left {
            one!(0);
            (at, right) = (at.wrapping_add(step), right.wrapping_add(width));
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
