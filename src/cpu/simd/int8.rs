//! Sums of products of 16-bit with 8-bit integers, in the widest instructions of the processor. They are exact: every
//! instruction set gives the same integers.
#![allow(unsafe_code, reason = "vector instructions exist only where the processor has them, which a Kernel proves")]

use std::sync::OnceLock;

/// Rows are padded with zeros to whole parts of so many bytes.
pub(crate) const PART: usize = 16;

/// The largest sum of magnitudes of a row of 16-bit integers whose products with magnitudes of up to 127 add up, in any
/// order, within 32 bits.
pub(crate) const MAX_MAGNITUDES: i64 = i32::MAX as i64 / 127;

/// How far ahead of sequential reads to prefetch, in bytes.
#[cfg(target_arch = "x86_64")]
const PREFETCH_DISTANCE: usize = 12 << 10;

/// An instruction set of this processor with products of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kernel {
    /// The instruction sets of this processor, best first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                sets.push(Self(Set::Vnni));
            }
            if is_x86_feature_detected!("avx2") {
                sets.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self(Set::Neon));
        sets.push(Self(Set::Portable));
        sets
    }

    pub fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// The sums of products of `x` with each of the rows, which are as long as `x` and follow one another.
    ///
    /// The length of `x` is a multiple of [`PART`], no level is -128, and the magnitudes of `x` add up to at most
    /// [`MAX_MAGNITUDES`].
    pub fn products(self, x: &[i16], rows: &[i8], sums: &mut [i32]) {
        assert!(x.len().is_multiple_of(PART) && rows.len() == x.len() * sums.len(), "whole rows of whole parts");
        if x.is_empty() {
            sums.fill(0);
            return;
        }
        match self.0 {
            // SAFETY: only `available` creates kernels, after it has detected these instructions, and lengths agree.
            #[cfg(target_arch = "x86_64")]
            Set::Vnni => unsafe { vnni(x, rows, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(x, rows, sums) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon(x, rows, sums),
            Set::Portable => portable(x, rows, sums),
        }
    }
}

fn portable(x: &[i16], rows: &[i8], sums: &mut [i32]) {
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(x.len())) {
        *sum = row.iter().zip(x).map(|(level, x)| i32::from(*level) * i32::from(*x)).sum();
    }
}

/// # Safety
/// The processor has AVX-512BW and AVX-512VNNI, and lengths are as [`Kernel::products`] says.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(x: &[i16], rows: &[i8], sums: &mut [i32]) {
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_cvtepi8_epi16, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm512_add_epi32, _mm512_cvtepi8_epi16, _mm512_dpwssd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32,
        _mm512_setzero_si512, _mm512_zextsi256_si512,
    };
    const LINE: usize = 64;
    let (length, from) = (x.len(), x.as_ptr());
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(length)) {
        let row = row.as_ptr();
        let mut at = 0;
        // SAFETY: every read lies within the row or within `x`; a prefetch accesses no memory.
        unsafe {
            let (mut a, mut b) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            while at + LINE <= length {
                _mm_prefetch::<_MM_HINT_T1>(row.wrapping_add(at + PREFETCH_DISTANCE));
                let low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(row.add(at).cast()));
                let high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(row.add(at + 32).cast()));
                a = _mm512_dpwssd_epi32(a, low, _mm512_loadu_si512(from.add(at).cast()));
                b = _mm512_dpwssd_epi32(b, high, _mm512_loadu_si512(from.add(at + 32).cast()));
                at += LINE;
            }
            while at < length {
                let levels = _mm256_cvtepi8_epi16(_mm_loadu_si128(row.add(at).cast()));
                let products = _mm256_madd_epi16(levels, _mm256_loadu_si256(from.add(at).cast()));
                a = _mm512_add_epi32(a, _mm512_zextsi256_si512(products));
                at += PART;
            }
            *sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
        }
    }
}

/// # Safety
/// The processor has AVX2, and lengths are as [`Kernel::products`] says.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(x: &[i16], rows: &[i8], sums: &mut [i32]) {
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_prefetch, _mm_shuffle_epi32,
        _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_setzero_si256,
    };
    let (length, from) = (x.len(), x.as_ptr());
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(length)) {
        let row = row.as_ptr();
        // SAFETY: every read lies within the row or within `x`; a prefetch accesses no memory.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 4];
            let mut add = |lane: usize, at: usize| {
                let levels = _mm256_cvtepi8_epi16(_mm_loadu_si128(row.add(at).cast()));
                let products = _mm256_madd_epi16(levels, _mm256_loadu_si256(from.add(at).cast()));
                sums[lane] = _mm256_add_epi32(sums[lane], products);
            };
            let mut at = 0;
            while at + 4 * PART <= length {
                _mm_prefetch::<_MM_HINT_T1>(row.wrapping_add(at + PREFETCH_DISTANCE));
                add(0, at);
                add(1, at + PART);
                add(2, at + 2 * PART);
                add(3, at + 3 * PART);
                at += 4 * PART;
            }
            while at < length {
                add(0, at);
                at += PART;
            }
            let [a, b, c, d] = sums;
            let all = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
            let all = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
            let all = _mm_add_epi32(all, _mm_shuffle_epi32::<0b01_00_11_10>(all));
            *sum = _mm_cvtsi128_si32(_mm_add_epi32(all, _mm_shuffle_epi32::<0b10_11_00_01>(all)));
        }
    }
}

#[cfg(target_arch = "aarch64")]
fn neon(x: &[i16], rows: &[i8], sums: &mut [i32]) {
    use std::arch::aarch64::{
        vaddq_s32, vaddvq_s32, vdupq_n_s32, vget_high_s8, vget_high_s16, vget_low_s8, vget_low_s16, vld1q_s8,
        vld1q_s16, vmlal_s16, vmovl_s8,
    };
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(x.len())) {
        // SAFETY: every aarch64 processor has the instructions, and every read is of a whole part.
        unsafe {
            let [mut a, mut b, mut c, mut d] = [vdupq_n_s32(0); 4];
            for (levels, x) in row.chunks_exact(PART).zip(x.chunks_exact(PART)) {
                let levels = vld1q_s8(levels.as_ptr());
                let (low, high) = (vmovl_s8(vget_low_s8(levels)), vmovl_s8(vget_high_s8(levels)));
                let (x_low, x_high) = (vld1q_s16(x.as_ptr()), vld1q_s16(x.as_ptr().add(8)));
                a = vmlal_s16(a, vget_low_s16(low), vget_low_s16(x_low));
                b = vmlal_s16(b, vget_high_s16(low), vget_high_s16(x_low));
                c = vmlal_s16(c, vget_low_s16(high), vget_low_s16(x_high));
                d = vmlal_s16(d, vget_high_s16(high), vget_high_s16(x_high));
            }
            *sum = vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_integers() {
        let number = |i: usize, seed: usize| (i * 7919 + seed * 104_729) % 10_007;
        for length in (0..=20).map(|parts| parts * PART).chain([1008, 4096]) {
            // As large as sums may be, too.
            let most = (MAX_MAGNITUDES / length.max(1) as i64).min(32_767);
            let random: Vec<i16> = (0..length).map(|i| (number(i, 1) as i64 % (2 * most + 1) - most) as i16).collect();
            let extreme = vec![most as i16; length];
            for x in [random, extreme] {
                let count = 5;
                let mut rows: Vec<i8> = (0..length * count).map(|i| (number(i, 2) % 255) as i8).collect();
                for level in &mut rows {
                    *level = (*level).max(-127);
                }
                rows[..length].fill(127);
                if length > 0 {
                    rows[length..2 * length].fill(-127);
                }
                let expected: Vec<i64> = (0..count)
                    .map(|r| (0..length).map(|c| i64::from(rows[r * length + c]) * i64::from(x[c])).sum())
                    .collect();
                for kernel in Kernel::available() {
                    let mut sums = vec![-1; count];
                    kernel.products(&x, &rows, &mut sums);
                    let got: Vec<i64> = sums.iter().map(|sum| i64::from(*sum)).collect();
                    assert_eq!(got, expected, "{kernel:?} length {length}");
                }
            }
        }
    }
}
