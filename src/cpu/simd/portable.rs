//! Vectors for any processor: arrays of four floats, which the compiler maps to vector registers where it can.
#![allow(unsafe_code, reason = "loads and stores of the trait go through pointers")]
#![allow(clippy::inline_always, reason = "a function that is not inlined is compiled without the instructions")]

use half::f16;

use crate::cpu::simd::vector::Simd;

/// Vectors of four lanes on any processor.
#[derive(Clone, Copy)]
pub struct Portable;

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
        // SAFETY: the caller guarantees that these floats are readable; an array of floats has the alignment of a
        // float.
        unsafe { from.cast::<[f32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn load_part(self, _from: *const f32, _count: usize) -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: [f32; 4]) {
        // SAFETY: the caller guarantees that these floats are writable.
        unsafe { to.cast::<[f32; 4]>().write(vector) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const f16) -> [f32; 4] {
        // SAFETY: the caller guarantees that these halves are readable.
        let halves = unsafe { from.cast::<[f16; 4]>().read() };
        lanes!(l => halves[l].to_f32())
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> [f32; 4] {
        // SAFETY: the caller guarantees that these bytes are readable.
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
