//! The instruction set that kernels run on, chosen when the program runs.
#![allow(unsafe_code, reason = "vector instructions exist only where the processor has them, which a Level proves")]
#![allow(clippy::inline_always, reason = "a function that is not inlined is compiled without the instructions")]

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::avx2::{self, Avx2};
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::avx512::{self, Avx512};
#[cfg(target_arch = "aarch64")]
use crate::cpu::simd::neon::Neon;
use crate::cpu::simd::portable::Portable;
use crate::cpu::simd::vector::{Simd, Work};

/// An instruction set of this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Level {
    /// The instruction sets of this processor, best first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(Self(Set::Avx512));
            }
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("f16c") {
                sets.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self(Set::Neon));
        sets.push(Self(Set::Portable));
        sets
    }

    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => Neon::LANES,
            Set::Portable => Portable::LANES,
        }
    }

    /// The queries of the widest panel.
    pub fn panel(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Avx512::PANEL * Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Avx2::PANEL * Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => Neon::PANEL * Neon::LANES,
            Set::Portable => Portable::PANEL * Portable::LANES,
        }
    }

    pub fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            // SAFETY: only `available` creates levels, after it has detected these instructions.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512::avx512(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2::avx2(work) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => work.run(Neon),
            Set::Portable => work.run(Portable),
        }
    }
}

/// A plain loop, which the compiler vectorizes.
struct Loop<F>(F);

impl<R, F: FnOnce() -> R> Work for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> R {
        (self.0)()
    }
}

/// Runs a plain loop, compiled for the best level; its results are the same on every level. Keep it small: only inlined
/// code is compiled with the enabled target features. A larger loop is a [`Work`] of its own.
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Level::best().run(Loop(work))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::vector::MAX_LANES;

    struct Exponentials<'a>(&'a mut [f32]);

    impl Work for Exponentials<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for part in self.0.chunks_exact_mut(S::LANES) {
                simd.write(part, simd.exp(simd.read(part)));
            }
        }
    }

    #[test]
    fn exponentials_are_right_to_two_units() {
        let mut x: Vec<f32> = (0..1 << 20).map(|i| -(i as f32) * (88.0 / (1 << 20) as f32)).collect();
        x.extend((0..150).map(|i| -2f32.powi(-i)));
        x.extend([-0.0, 0.0, -87.3, -87.336_54, -87.337, -1e30, f32::MIN, f32::NEG_INFINITY]);
        x.resize(x.len().next_multiple_of(MAX_LANES), -1.0);
        for level in Level::available() {
            let mut got = x.clone();
            level.run(Exponentials(&mut got));
            for (x, got) in x.iter().zip(&got) {
                let expected = f64::from(*x).exp();
                if expected < f64::from(f32::MIN_POSITIVE) {
                    assert!(*got == 0.0 || *got == f32::MIN_POSITIVE, "{level:?}: exp {x} is {got}");
                } else {
                    let unit = f64::from(f32::EPSILON) * expected.log2().floor().exp2();
                    let off = (f64::from(*got) - expected).abs() / unit;
                    assert!(off <= 2.0, "{level:?}: exp {x} is {got}, off by {off} units");
                }
            }
        }
    }

    struct Lanes<'a>(&'a [f32]);

    impl Work for Lanes<'_> {
        type Output = [f32; 4];
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; 4] {
            let a = simd.read(self.0);
            let part = simd.read_part(&self.0[..S::LANES - 4]);
            let above = simd.ge_mask(a, simd.splat(self.0[1]));
            let absolute = simd.abs(simd.mul(a, simd.splat(-1.0)));
            [simd.reduce_sum(part), simd.reduce_max(a), simd.reduce_sum(absolute), above as f32]
        }
    }

    #[test]
    fn lanes_are_joined_whole() {
        let x: Vec<f32> = (0..MAX_LANES).map(|i| i as f32).collect();
        for level in Level::available() {
            let n = level.lanes() as f32;
            let below = |n: f32| n * (n - 1.0) / 2.0;
            let above = (1u32 << level.lanes()) - 2;
            let expected = [below(n - 4.0), n - 1.0, below(n), above as f32];
            assert_eq!(level.run(Lanes(&x)), expected, "{level:?}");
        }
    }
}
