//! Associative memory on any GPU: store patterns once, give noisy or partial queries, get back what they recall.
//!
//! This is the modern Hopfield network (Ramsauer et al., "Hopfield Networks is All You Need", 2021), computed by
//! hand-written WGSL shaders through [`wgpu`] on Vulkan, Metal, DX12, GL and WebGPU, by a native engine where there is no
//! GPU, and judged by a plain [`mod@reference`]. One update of a state `x` against keys `k_i` with values `v_i`:
//!
//! ```text
//! z_i = beta similarity(x, k_i) + b_i     p = separation(z)     x' = sum_i p_i k_i     y = sum_i p_i v_i
//! ```
//!
//! The N weights of a query are never held at once: scores are folded tile by tile into a running maximum, a running sum
//! and a running weighted sum, so a memory may be as large as the device and a batch as large as its answers.
//!
//! # A tour of the files
//!
//! The source reads as the data flows. `rule` says what is computed and [`Memory`] is what callers hold. `store` lays
//! patterns out in windows, and `store/files` brings them in and out of files. `gpu` and `cpu` are the engines, with the same stems for the same stages: `similarity`
//! scores, `separation` turns scores into weights, `projection` sums rows by weight, `merge` joins partial states, and
//! `retrieve` runs the stages. `reference` computes the same by plain loops. Shaders are in `shaders/`, one stage a file.

//! # Features
//!
//! `files`, on by default: [`Memory::save`], [`Memory::load`] and [`Memory::import`], with the module [`mod@files`], and a
//! [`Tuning`] in its file.

//! # In a browser
//!
//! The library builds for `wasm32-unknown-unknown`, with and without `files`. Memories live on WebGPU, or on the CPU
//! engine, which computes on the calling thread.
//!
//! ```no_run
//! use attractor::{Device, Memory, Rule};
//!
//! /// From JavaScript by way of `wasm_bindgen`, or from Rust by `wasm_bindgen_futures::spawn_local`.
//! pub async fn recall(patterns: &[f32], query: &[f32]) -> attractor::Result<Vec<f32>> {
//!     let device = Device::new().await?; // the CPU engine where there is no WebGPU, or only in software
//!     let mut memory = Memory::new(&device, 64, Rule::attention(64))?;
//!     memory.add(patterns)?;
//!     Ok(memory.retrieve(query).await?.output)
//! }
//! ```
//!
//! What differs from native programs:
//!
//! - No call waits for a GPU: the answer would come on the very thread that waits for it. Answers are awaited
//!   ([`Memory::retrieve`]) or asked for once a frame ([`Pending::is_ready`]). [`Memory::retrieve_blocking`],
//!   [`Memory::retrieve_with_blocking`] and [`Memory::retrieve_partial_blocking`] give [`Error::Unsupported`] on a GPU,
//!   and so do [`Pending::wait`] before the answer is there, and [`Memory::get`] and [`Memory::rebuild`] without a
//!   [host copy](MemoryOptions::host_copy). On the CPU engine all of them answer.
//! - A browser tells of what it refuses, such as an allocation, only after the call has returned. The next answer of
//!   the same device is then [`Error::Lost`], with the call and what the browser said. A buffer of another device is no
//!   [`Error::OtherDevice`]: what was recorded with it fails when it is submitted.
//! - wgpu offers neither subgroups nor cooperative matrices nor pipeline caches on WebGPU; kernels that need them are
//!   not planned. [`Device::adapters`] lists one adapter at the most, mostly without a name.
//! - There are no files: [`Memory::save`] and [`Memory::load`] return [`Error::File`], and `save` of a memory on a GPU,
//!   which would have to be read back, [`Error::Unsupported`].
//! - There are no threads. Types are `Send` and `Sync` as elsewhere, by wgpu's feature
//!   `fragile-send-sync-non-atomic-wasm`, which is for modules without the target feature `atomics`.

//! # On Windows
//!
//! On DX12 wgpu compiles kernels with DXC where it finds `dxcompiler.dll` (1.8.2502 or later) beside the program or on
//! `PATH`, and otherwise with FXC, `d3dcompiler_47.dll`, which every Windows has. The environment variable
//! `WGPU_DX12_COMPILER` (`fxc`, `dxc`, `staticdxc`) chooses, for the devices that this library opens; a host's device
//! has what the host chose. An older `dxcompiler.dll` is not passed over. FXC compiles for shader model 5.1: without
//! subgroups and halves, and in up to three seconds a kernel.

#![deny(missing_docs)]

mod answer;
mod atomic_file;
mod cache;
mod cpu;
mod device;
mod engine;
mod error;
mod exact;
mod explain;
#[cfg(feature = "files")]
mod file_error;
mod finite;
mod fork;
mod gpu;
mod hash;
mod id;
#[doc(hidden)]
pub mod internals;
mod job;
mod mask;
mod memory;
mod partial;
mod patterns;
mod pending;
mod precision;
pub mod reference;
mod regular_file;
mod retrieval;
mod room;
mod rule;
mod store;
mod strategy;
mod sync;
mod tuning;
mod wait;

pub use cache::user_cache_folder;
pub use device::{AdapterChoice, Device, DeviceInfo, DeviceOptions, Software};
pub use error::{Error, Result};
pub use explain::{Explanation, KernelWork};
pub use gpu::{Job, Recording, Rows, Slice};
pub use id::{PatternId, PatternIds, PatternIdsIter};
pub use job::{JobId, Jobs};
pub use mask::Mask;
#[cfg(feature = "files")]
pub use memory::LoadOptions;
pub use memory::{Memory, MemoryOptions};
pub use partial::{Finished, Partial, PartialOptions};
pub use patterns::Patterns;
pub use pending::Pending;
pub use precision::Precision;
pub use retrieval::{
    DEFAULT_TOLERANCE, FixedPoint, MAX_TOP, Retrieval, RetrieveOptions, Statistics, Status, Stop, Top, WeightsOf,
};
pub use rule::{MAX_ALPHA, Rule, Separation, Similarity};
pub use store::Pattern;
#[cfg(feature = "files")]
pub use store::files;
pub use tuning::Tuning;
pub use wgpu;

/// The README's example, compiled and run with the tests.
#[cfg(all(doctest, feature = "files"))]
#[doc = include_str!("../README.md")]
struct Readme;
