//! Sums of products of many rows of 16-bit integers with rows of 8-bit integers: those of
//! [`int8`](super::int8), with each 8-bit row read once for all.
#![allow(unsafe_code, reason = "vector instructions exist only where the processor has them, which a Kernel proves")]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed as matrices")]

/// Lanes of a vector of sums.
pub(crate) const LANES: usize = 16;
/// The most vectors of sums in a row of a panel.
const VECTORS: usize = 4;
/// The most rows of 16-bit integers of one panel.
pub(crate) const WIDTH: usize = VECTORS * LANES;
/// The most rows of one register tile.
const ROWS: usize = 12;

/// Whether the processor multiplies panels faster in integers than in `f32`.
pub(crate) fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Up to [`WIDTH`] rows of 16-bit integers, as [`Kernel::products`](super::int8::Kernel::products) takes one.
#[derive(Debug)]
pub(crate) struct Panel {
    /// Rows in whole vectors.
    pub width: usize,
    stride: usize,
    /// Pairs of neighbours: number `q` of row `p` is the `p`-th pair of row `q`, the first in the low half.
    pairs: Vec<i32>,
}

impl Panel {
    /// `rows` are as long as each other, in whole parts.
    pub fn new(rows: &[&[i16]]) -> Self {
        let (width, stride) = (rows.len().next_multiple_of(LANES), rows[0].len());
        assert!(width <= WIDTH && stride.is_multiple_of(super::int8::PART), "a panel of whole parts");
        let mut pairs = vec![0; width * stride / 2];
        for (q, row) in rows.iter().enumerate().filter(|_| stride > 0) {
            for (to, pair) in pairs[q..].iter_mut().step_by(width).zip(row.as_chunks::<2>().0) {
                *to = i32::from(pair[0]) & 0xffff | i32::from(pair[1]) << 16;
            }
        }
        Self { width, stride, pairs }
    }

    /// Integers of `sums` for `count` rows, some of which are scratch.
    pub fn sums(&self, count: usize) -> usize {
        count.next_multiple_of(ROWS) * self.width
    }

    /// The sums of products of each row of the panel with each of `rows`: `sums[t * width + q]`.
    pub fn products(&self, rows: &[i8], sums: &mut [i32]) {
        self.products_by(is_fast(), rows, sums);
    }

    fn products_by(&self, fast: bool, rows: &[i8], sums: &mut [i32]) {
        if self.stride == 0 {
            sums.fill(0);
            return;
        }
        let count = rows.len() / self.stride;
        assert!(sums.len() >= self.sums(count), "room for the sums");
        #[cfg(target_arch = "x86_64")]
        if fast {
            // SAFETY: the processor has the instructions, and the sums have room for whole tiles of up to `ROWS` rows.
            unsafe {
                match self.width / LANES {
                    1 => vnni::<12, 1>(self, rows, sums),
                    2 => vnni::<12, 2>(self, rows, sums),
                    3 => vnni::<6, 3>(self, rows, sums),
                    _ => vnni::<6, 4>(self, rows, sums),
                }
            }
            return;
        }
        let _ = fast;
        for (row, sums) in rows.chunks_exact(self.stride).zip(sums.chunks_exact_mut(self.width)) {
            sums.fill(0);
            for (levels, pairs) in row.as_chunks::<2>().0.iter().zip(self.pairs.chunks_exact(self.width)) {
                for (sum, pair) in sums.iter_mut().zip(pairs) {
                    *sum += i32::from(levels[0]) * i32::from(*pair as i16) + i32::from(levels[1]) * (pair >> 16);
                }
            }
        }
    }
}

/// Tiles of `M` rows, the last with zeros in place of rows that are missing; `M` divides [`ROWS`].
///
/// # Safety
/// The processor has AVX-512BW and AVX-512VNNI, the panel has `V` vectors, and `sums` room as [`Panel::sums`] says.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
unsafe fn vnni<const M: usize, const V: usize>(panel: &Panel, rows: &[i8], sums: &mut [i32]) {
    use std::arch::asm;
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_cvtepi8_epi16, _mm256_storeu_si256, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };
    const PART: usize = super::int8::PART;
    /// Bytes ahead of the rows that are widened.
    const AHEAD: usize = 8 << 10;
    let (stride, width) = (panel.stride, V * LANES);
    let mut wide = vec![0i16; M * stride];
    for (tile, levels) in rows.chunks(M * stride).enumerate() {
        // SAFETY: every read and write lies within the rows, the panel, the scratch or the sums.
        unsafe {
            for at in (0..levels.len()).step_by(PART) {
                let from = levels.as_ptr().add(at);
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(AHEAD));
                let part = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast()));
                _mm256_storeu_si256(wide.as_mut_ptr().add(at).cast(), part);
            }
            wide[levels.len()..].fill(0);
            let (pairs, left) = (panel.pairs.as_ptr(), wide.as_ptr());
            let mut tile_sums = [[_mm512_setzero_si512(); V]; M];
            // Written out: in loops the sums would be kept in memory.
            macro_rules! vectors {
                ($m:literal, $at:ident, $do:expr) => {
                    vectors!(0, $m, $at, $do);
                    vectors!(1, $m, $at, $do);
                    vectors!(2, $m, $at, $do);
                    vectors!(3, $m, $at, $do);
                };
                ($v:literal, $m:literal, $at:ident, $do:expr) => {
                    if $v < V {
                        let $at = ($m, $v);
                        $do
                    }
                };
            }
            for pair in 0..stride / 2 {
                let mut x = [_mm512_setzero_si512(); V];
                for v in 0..V {
                    x[v] = _mm512_loadu_si512(pairs.add(pair * width + v * LANES).cast());
                }
                macro_rules! row {
                    ($($m:literal)*) => {
                        $(if $m < M {
                            let levels = left.add($m * stride + 2 * pair).cast::<i32>().read_unaligned();
                            let levels = _mm512_set1_epi32(levels);
                            vectors!($m, at, {
                                // The compiler makes two instructions of the intrinsic, which take twice as long.
                                asm!("vpdpwssd {0}, {1}, {2}",
                                    inout(zmm_reg) tile_sums[at.0][at.1], in(zmm_reg) x[at.1], in(zmm_reg) levels,
                                    options(pure, nomem, nostack, preserves_flags));
                            });
                        })*
                    };
                }
                row!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
            let to = sums[tile * M * width..(tile + 1) * M * width].as_mut_ptr();
            macro_rules! store {
                ($($m:literal)*) => {
                    $(if $m < M {
                        vectors!($m, at, {
                            _mm512_storeu_si512(to.add(at.0 * width + at.1 * LANES).cast(), tile_sums[at.0][at.1]);
                        });
                    })*
                };
            }
            store!(0 1 2 3 4 5 6 7 8 9 10 11);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::int8::{Kernel, MAX_MAGNITUDES, PART};

    #[test]
    fn panels_give_the_integers_of_single_rows() {
        let number = |i: usize, seed: usize| (i * 7919 + seed * 104_729) % 10_007;
        for stride in [0, PART, 2 * PART, 5 * PART, 384, 4096] {
            for (queries, count) in [(1, 1), (5, 13), (16, 12), (17, 128), (33, 7), (48, 25), (49, 6), (64, 128)] {
                let most = (MAX_MAGNITUDES / stride.max(1) as i64).min(32_767);
                let x: Vec<i16> = (0..queries * stride)
                    .map(
                        |i| if i % 3 == 0 { most as i16 } else { (number(i, 1) as i64 % (2 * most + 1) - most) as i16 },
                    )
                    .collect();
                let rows: Vec<i8> =
                    (0..count * stride).map(|i| (number(i, 2) % 255) as i8).map(|l| l.max(-127)).collect();
                let x: Vec<&[i16]> = (0..queries).map(|q| &x[q * stride..(q + 1) * stride]).collect();
                let panel = Panel::new(&x);
                for fast in [false, is_fast()] {
                    let mut sums = vec![-1; panel.sums(count)];
                    panel.products_by(fast, &rows, &mut sums);
                    for (q, x) in x.iter().enumerate() {
                        let mut expected = vec![-1; count];
                        Kernel::best().products(x, &rows, &mut expected);
                        let got: Vec<i32> = (0..count).map(|t| sums[t * panel.width + q]).collect();
                        assert_eq!(got, expected, "stride {stride}, {queries} queries, {count} rows, fast {fast}");
                    }
                }
            }
        }
    }
}
