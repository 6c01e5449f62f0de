//! Vectors of four floats on aarch64.
#![allow(unsafe_code, reason = "intrinsics")]
#![allow(clippy::inline_always, reason = "a function that is not inlined is compiled without the instructions")]
#![allow(clippy::wildcard_imports, reason = "the list would be as long as the code")]

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use crate::cpu::simd::vector::Simd;

/// NEON, which every aarch64 processor has.
#[derive(Clone, Copy)]
pub struct Neon;

// SAFETY of every block without a comment: every aarch64 processor has the instruction.
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
        // SAFETY: the caller guarantees it.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_part(self, _from: *const f32, _count: usize) -> float32x4_t {
        self.splat(0.0)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: float32x4_t) {
        // SAFETY: the caller guarantees it.
        unsafe { vst1q_f32(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const f16) -> float32x4_t {
        let floats: float32x4_t;
        // SAFETY: the caller guarantees it; the instruction, which has no stable intrinsic, touches these registers
        // alone.
        unsafe {
            let halves = vld1_u16(from.cast());
            asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) floats, in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags));
        }
        floats
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> float32x4_t {
        // SAFETY: the caller guarantees it.
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
