//! Vectors of `f32`, as wide as the processor that runs the program has them.
//!
//! Kernels are written once, over [`vector::Simd`], as a [`vector::Work`]; [`level::Level::run`] compiles each kernel
//! for every instruction set and runs the best. A kernel and all that it calls are `#[inline(always)]`: only inlined
//! code is compiled with the instructions enabled.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod int8;
pub(crate) mod int8_panel;
pub(crate) mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod vector;
