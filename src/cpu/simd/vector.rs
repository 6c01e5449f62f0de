//! The operations of a vector of `f32`, and kernels that are generic over it.
#![allow(unsafe_code, reason = "loads and stores through pointers, for kernels whose bounds are checked once")]
#![allow(clippy::inline_always, reason = "a function that is not inlined is compiled without the instructions")]

use half::f16;

/// How far ahead of sequential reads to prefetch, in bytes: most of a tile of few queries, so that memory is busy while
/// the weights of the tile are computed and its rows summed.
const PREFETCH_DISTANCE: usize = 12 << 10;

/// The most lanes of any vector.
pub(crate) const MAX_LANES: usize = 16;

/// The most vectors in a row of any panel.
pub(crate) const MAX_VECTORS: usize = 4;

/// Calls a method that is generic over the number of vectors `V` in a row of a panel, for a row of `$width` floats.
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
pub(crate) use by_vectors;

/// Vectors of one instruction set. Values of the implementing types exist only where the processor has it.
pub(crate) trait Simd: Copy {
    type Vector: Copy;
    /// Floats of one vector.
    const LANES: usize;
    /// The most vectors in a row of a panel, by the number of registers for its tiles: 4 with 32 registers, 2 with 16.
    const PANEL: usize;

    fn splat(self, value: f32) -> Self::Vector;
    /// Prefetches the cache line of any address.
    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and it accesses no memory.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
    /// Prefetches the cache line of any address into the second-level cache only.
    #[inline(always)]
    fn prefetch_near(self, address: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has the instruction, and it accesses no memory.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
    /// Prefetches [`PREFETCH_DISTANCE`] ahead of `numbers`, which are part of a sequential read.
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
    /// The sum of the lanes, pairwise.
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

/// A kernel over vectors of any width.
pub(crate) trait Work {
    type Output;
    /// `#[inline(always)]`, like all that it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
