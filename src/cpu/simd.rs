//! Vectors of `f32` as wide as this processor has them, chosen when the program runs.
//!
//! Kernels are written once, over [`Simd`], as [`Work`]; [`Level::run`] compiles each for every instruction set. A kernel
//! and all that it calls are `#[inline(always)]`, so that they become part of a function with the instructions enabled.
#![allow(unsafe_code, reason = "vector instructions exist only where the processor has them, which a Level proves")]
#![allow(clippy::inline_always, reason = "a function that is not inlined is compiled without the instructions")]

use std::sync::OnceLock;

use half::f16;

/// Bytes, most of the tile that few queries go over: memory is busy while its weights are made and its rows summed, too.
const PREFETCH_DISTANCE: usize = 12 << 10;

/// The most lanes of any vector here.
pub const MAX_LANES: usize = 16;

/// The most vectors of any panel here.
pub const MAX_VECTORS: usize = 4;

/// Calls a method that is generic over the vectors of a panel, one that is `$width` floats wide.
macro_rules! by_vectors {
    ($s:ident, $width:expr, $self:ident.$method:ident::<$($type:ty),* ; V>($($argument:expr),*)) => {
        match $width / $s::LANES {
            1 => $self.$method::<$($type,)* 1>($($argument),*),
            2 => $self.$method::<$($type,)* 2>($($argument),*),
            3 if $s::PANEL > 2 => $self.$method::<$($type,)* 3>($($argument),*),
            4 if $s::PANEL > 2 => $self.$method::<$($type,)* 4>($($argument),*),
            vectors => unreachable!("no panel has {vectors} vectors"),
        }
    };
}
pub(super) use by_vectors;

/// Vectors of one instruction set. Values of the implementing types exist only where the processor has it.
pub(super) trait Simd: Copy {
    type Vector: Copy;
    /// Floats of one vector.
    const LANES: usize;
    /// The vectors of queries that a panel is wide, at the most, as far as there are registers for a tile of it: 4 of 32, 2 of
    /// 16.
    const PANEL: usize;

    fn splat(self, value: f32) -> Self::Vector;
    /// Asks for the cache line of an address, which may be any.
    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and it touches nothing.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
    /// Asks for the cache line of an address, which may be any, to come into the second cache and no further.
    #[inline(always)]
    fn prefetch_near(self, address: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and it touches nothing.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
    /// Asks for what lies [`PREFETCH_DISTANCE`] of some numbers that are read in the order in which they lie in memory.
    #[inline(always)]
    fn prefetch_ahead<T>(self, numbers: &[T]) {
        self.prefetch_near(numbers.as_ptr().wrapping_byte_add(PREFETCH_DISTANCE).cast());
    }
    /// # Safety
    /// `from` is readable for `LANES` floats.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// The first `count` lanes, the others zero.
    /// # Safety
    /// `count` is a multiple of 4 below `LANES`, and `from` is readable for that many floats.
    unsafe fn load_part(self, from: *const f32, count: usize) -> Self::Vector;
    /// # Safety
    /// `to` is writable for `LANES` floats.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);
    /// `LANES` halves, as floats.
    /// # Safety
    /// `from` is readable for `LANES` halves.
    unsafe fn load_halves(self, from: *const f16) -> Self::Vector;
    /// `LANES` small integers, as floats.
    /// # Safety
    /// `from` is readable for `LANES` bytes.
    unsafe fn load_bytes(self, from: *const i8) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// `a b + c`, rounded once where the processor can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// One bit for each lane in which `a >= b`.
    fn ge_mask(self, a: Self::Vector, b: Self::Vector) -> u32;
    /// `value` in the lanes in which `a >= b`, else zero.
    fn select_ge(self, a: Self::Vector, b: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `2^n`, where each lane is `n + SHIFTER` for an integer `n` from -126 to 127.
    fn power_of_two(self, shifted: Self::Vector) -> Self::Vector;
    /// The sum of the lanes: halves, quarters and so on.
    fn reduce_sum(self, a: Self::Vector) -> f32;
    fn reduce_max(self, a: Self::Vector) -> f32;

    /// [`Simd::load`] of the first floats of a slice.
    #[inline(always)]
    fn read(self, from: &[f32]) -> Self::Vector {
        let from = &from[..Self::LANES];
        // SAFETY: the slice has that many floats.
        unsafe { self.load(from.as_ptr()) }
    }

    /// A slice of less than `LANES` floats, a multiple of 4; the other lanes are zero.
    #[inline(always)]
    fn read_part(self, from: &[f32]) -> Self::Vector {
        assert!(from.len() < Self::LANES && from.len().is_multiple_of(4), "a part of a vector");
        // SAFETY: the slice has that many floats.
        unsafe { self.load_part(from.as_ptr(), from.len()) }
    }

    /// [`Simd::store`] to the first floats of a slice.
    #[inline(always)]
    fn write(self, to: &mut [f32], vector: Self::Vector) {
        let to = &mut to[..Self::LANES];
        // SAFETY: the slice has that many floats.
        unsafe { self.store(to.as_mut_ptr(), vector) }
    }

    /// `e^x` for `x <= 0`, to 2 units in the last place; zero where it is below the smallest normal number.
    ///
    /// `x = n ln 2 + r`, `|r| <= ln 2 / 2`; `ln 2` is split so that `n` times its first part is exact, and `e^r` is the
    /// polynomial of Cephes (Moshier), whose error is below that of its rounding.
    #[inline(always)]
    fn exp(self, x: Self::Vector) -> Self::Vector {
        let smallest = self.splat(SMALLEST_EXPONENT);
        let bounded = self.max(x, smallest);
        let shifted = self.mul_add(bounded, self.splat(std::f32::consts::LOG2_E), self.splat(SHIFTER));
        let n = self.sub(shifted, self.splat(SHIFTER));
        let r = self.mul_add(n, self.splat(-0.693_359_4), bounded);
        let r = self.mul_add(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
            p = self.mul_add(p, r, self.splat(coefficient));
        }
        let p = self.mul_add(p, self.mul(r, r), self.add(r, self.splat(1.0)));
        self.select_ge(x, smallest, self.mul(p, self.power_of_two(shifted)))
    }
}

/// Added to a small number, leaves it rounded to an integer in the last bits.
const SHIFTER: f32 = 12_582_912.0;
/// The logarithm of the smallest normal number.
const SMALLEST_EXPONENT: f32 = -87.336_54;

/// Something to do with vectors of any width.
pub(super) trait Work {
    type Output;
    /// `#[inline(always)]`, like all that it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(Set);

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
    /// Those that this processor has, best first.
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
            Set::Avx512 => x86::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::Neon::LANES,
            Set::Portable => Portable::LANES,
        }
    }

    /// The queries of the widest panel.
    pub fn panel(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => x86::Avx512::PANEL * x86::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => x86::Avx2::PANEL * x86::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::Neon::PANEL * neon::Neon::LANES,
            Set::Portable => Portable::PANEL * Portable::LANES,
        }
    }

    pub fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            // SAFETY: levels are made in `available` alone, which has asked the processor for these instructions.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::avx512(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::avx2(work) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => work.run(neon::Neon),
            Set::Portable => work.run(Portable),
        }
    }
}

/// A plain loop, which compilers make vectors of on their own.
struct Loop<F>(F);

impl<R, F: FnOnce() -> R> Work for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> R {
        (self.0)()
    }
}

/// Runs a plain loop, compiled for the best level; its results are the same on every one. It has to be small: compilers take
/// only a small one into the function that has the instructions. A larger one is a [`Work`] of its own.
pub(super) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Level::best().run(Loop(work))
}

/// What every processor has: four lanes, of which a compiler may make vectors.
#[derive(Clone, Copy)]
struct Portable;

/// Whether `f32::mul_add` is an instruction, not a call.
const FUSED: bool = cfg!(target_arch = "aarch64") || cfg!(target_feature = "fma");

macro_rules! lanes {
    ($lane:ident => $value:expr) => {{
        let mut result = [0.0f32; 4];
        let mut $lane = 0;
        while $lane < 4 {
            result[$lane] = $value;
            $lane += 1;
        }
        result
    }};
}

impl Simd for Portable {
    type Vector = [f32; 4];
    const LANES: usize = 4;
    const PANEL: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; 4] {
        // SAFETY: the caller says that these floats are readable; an array of floats is aligned as a float is.
        unsafe { from.cast::<[f32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn load_part(self, _from: *const f32, _count: usize) -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: [f32; 4]) {
        // SAFETY: the caller says that these floats are writable.
        unsafe { to.cast::<[f32; 4]>().write(vector) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const f16) -> [f32; 4] {
        // SAFETY: the caller says that these halves are readable.
        let halves = unsafe { from.cast::<[f16; 4]>().read() };
        lanes!(l => halves[l].to_f32())
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> [f32; 4] {
        // SAFETY: the caller says that these bytes are readable.
        let bytes = unsafe { from.cast::<[i8; 4]>().read() };
        lanes!(l => f32::from(bytes[l]))
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes!(l => a[l] + b[l])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes!(l => a[l] - b[l])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes!(l => a[l] * b[l])
    }

    #[inline(always)]
    fn max(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes!(l => if a[l] > b[l] { a[l] } else { b[l] })
    }

    #[inline(always)]
    fn abs(self, a: [f32; 4]) -> [f32; 4] {
        lanes!(l => a[l].abs())
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        lanes!(l => if FUSED { a[l].mul_add(b[l], c[l]) } else { a[l] * b[l] + c[l] })
    }

    #[inline(always)]
    fn ge_mask(self, a: [f32; 4], b: [f32; 4]) -> u32 {
        u32::from(a[0] >= b[0])
            | u32::from(a[1] >= b[1]) << 1
            | u32::from(a[2] >= b[2]) << 2
            | u32::from(a[3] >= b[3]) << 3
    }

    #[inline(always)]
    fn select_ge(self, a: [f32; 4], b: [f32; 4], value: [f32; 4]) -> [f32; 4] {
        lanes!(l => if a[l] >= b[l] { value[l] } else { 0.0 })
    }

    #[inline(always)]
    fn power_of_two(self, shifted: [f32; 4]) -> [f32; 4] {
        lanes!(l => f32::from_bits((shifted[l].to_bits() << 23).wrapping_add(0x3f80_0000)))
    }

    #[inline(always)]
    fn reduce_sum(self, a: [f32; 4]) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }

    #[inline(always)]
    fn reduce_max(self, a: [f32; 4]) -> f32 {
        a[0].max(a[2]).max(a[1].max(a[3]))
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    #![allow(clippy::wildcard_imports, reason = "the list would be as long as the code")]

    use std::arch::aarch64::*;
    use std::arch::asm;

    use half::f16;

    use super::Simd;

    /// Every aarch64 processor has it.
    #[derive(Clone, Copy)]
    pub struct Neon;

    // SAFETY, of every block here without one of its own: the instruction is there.
    impl Simd for Neon {
        type Vector = float32x4_t;
        const LANES: usize = 4;
        const PANEL: usize = 4;

        #[inline(always)]
        fn splat(self, value: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(value) }
        }

        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe { vld1q_f32(from) }
        }

        #[inline(always)]
        unsafe fn load_part(self, _from: *const f32, _count: usize) -> float32x4_t {
            self.splat(0.0)
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, vector: float32x4_t) {
            // SAFETY: the caller's.
            unsafe { vst1q_f32(to, vector) }
        }

        #[inline(always)]
        unsafe fn load_halves(self, from: *const f16) -> float32x4_t {
            let floats: float32x4_t;
            // SAFETY: the caller's; the instruction, which has no stable intrinsic, touches these registers alone.
            unsafe {
                let halves = vld1_u16(from.cast());
                asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) floats, in(vreg) halves,
                    options(pure, nomem, nostack, preserves_flags));
            }
            floats
        }

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const i8) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe {
                let bytes = from.cast::<u32>().read_unaligned();
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(bytes.into())))))
            }
        }

        #[inline(always)]
        fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vaddq_f32(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vsubq_f32(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmulq_f32(a, b) }
        }

        #[inline(always)]
        fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmaxq_f32(a, b) }
        }

        #[inline(always)]
        fn abs(self, a: float32x4_t) -> float32x4_t {
            unsafe { vabsq_f32(a) }
        }

        #[inline(always)]
        fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }

        #[inline(always)]
        fn ge_mask(self, a: float32x4_t, b: float32x4_t) -> u32 {
            unsafe { vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32([1, 2, 4, 8].as_ptr()))) }
        }

        #[inline(always)]
        fn select_ge(self, a: float32x4_t, b: float32x4_t, value: float32x4_t) -> float32x4_t {
            unsafe { vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(a, b), vreinterpretq_u32_f32(value))) }
        }

        #[inline(always)]
        fn power_of_two(self, shifted: float32x4_t) -> float32x4_t {
            unsafe {
                let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(shifted));
                vreinterpretq_f32_u32(vaddq_u32(n, vdupq_n_u32(0x3f80_0000)))
            }
        }

        #[inline(always)]
        fn reduce_sum(self, a: float32x4_t) -> f32 {
            unsafe { vpadds_f32(vadd_f32(vget_low_f32(a), vget_high_f32(a))) }
        }

        #[inline(always)]
        fn reduce_max(self, a: float32x4_t) -> f32 {
            unsafe { vmaxvq_f32(a) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(clippy::wildcard_imports, reason = "the list would be as long as the code")]

    use std::arch::x86_64::*;

    use half::f16;

    use super::{Simd, Work};

    /// # Safety
    /// The processor has AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512<W: Work>(work: W) -> W::Output {
        work.run(Avx512(()))
    }

    /// # Safety
    /// The processor has AVX2, FMA and F16C.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn avx2<W: Work>(work: W) -> W::Output {
        work.run(Avx2(()))
    }

    /// Made in [`avx512`] alone.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    /// Made in [`avx2`] alone.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    // SAFETY, of every block here without one of its own: the instruction is there, for a value of the type exists.
    impl Simd for Avx512 {
        type Vector = __m512;
        const LANES: usize = 16;
        const PANEL: usize = 4;

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> __m512 {
            // SAFETY: the caller's.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_part(self, from: *const f32, count: usize) -> __m512 {
            // SAFETY: the caller's; lanes that the mask leaves out are not read.
            unsafe { _mm512_maskz_loadu_ps((1u16 << count) - 1, from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, vector: __m512) {
            // SAFETY: the caller's.
            unsafe { _mm512_storeu_ps(to, vector) }
        }

        #[inline(always)]
        unsafe fn load_halves(self, from: *const f16) -> __m512 {
            // SAFETY: the caller's.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const i8) -> __m512 {
            // SAFETY: the caller's.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        fn abs(self, a: __m512) -> __m512 {
            unsafe { _mm512_abs_ps(a) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn ge_mask(self, a: __m512, b: __m512) -> u32 {
            unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b)) }
        }

        #[inline(always)]
        fn select_ge(self, a: __m512, b: __m512, value: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b), value) }
        }

        #[inline(always)]
        fn power_of_two(self, shifted: __m512) -> __m512 {
            unsafe {
                let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
                _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(0x3f80_0000)))
            }
        }

        #[inline(always)]
        fn reduce_sum(self, a: __m512) -> f32 {
            unsafe { _mm512_reduce_add_ps(a) }
        }

        #[inline(always)]
        fn reduce_max(self, a: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(a) }
        }
    }

    impl Simd for Avx2 {
        type Vector = __m256;
        const LANES: usize = 8;
        const PANEL: usize = 2;

        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> __m256 {
            // SAFETY: the caller's.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_part(self, from: *const f32, count: usize) -> __m256 {
            // SAFETY: the caller's; a part of eight lanes in multiples of four is four lanes or none.
            unsafe { if count == 4 { _mm256_zextps128_ps256(_mm_loadu_ps(from)) } else { _mm256_setzero_ps() } }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, vector: __m256) {
            // SAFETY: the caller's.
            unsafe { _mm256_storeu_ps(to, vector) }
        }

        #[inline(always)]
        unsafe fn load_halves(self, from: *const f16) -> __m256 {
            // SAFETY: the caller's.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const i8) -> __m256 {
            // SAFETY: the caller's.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
        }

        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }

        #[inline(always)]
        fn abs(self, a: __m256) -> __m256 {
            unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn ge_mask(self, a: __m256, b: __m256) -> u32 {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b)) as u32 }
        }

        #[inline(always)]
        fn select_ge(self, a: __m256, b: __m256, value: __m256) -> __m256 {
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b), value) }
        }

        #[inline(always)]
        fn power_of_two(self, shifted: __m256) -> __m256 {
            unsafe {
                let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
                _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3f80_0000)))
            }
        }

        #[inline(always)]
        fn reduce_sum(self, a: __m256) -> f32 {
            unsafe {
                let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
                _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
            }
        }

        #[inline(always)]
        fn reduce_max(self, a: __m256) -> f32 {
            unsafe {
                let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
                _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let expected = [below(n - 4.0), n - 1.0, below(n), n.exp2() - 2.0];
            assert_eq!(level.run(Lanes(&x)), expected, "{level:?}");
        }
    }
}
