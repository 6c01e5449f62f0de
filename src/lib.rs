//! Associative memory on any GPU: store patterns once, query with noisy or partial ones, get back what they recall.
//!
//! ```
//! use attractor::{Device, Memory, RetrieveOptions, Rule};
//!
//! let device = Device::cpu(); // or `Device::new().await?`: the best GPU, else the CPU engine
//! let mut memory = Memory::new(&device, 4, Rule::softmax(8.0))?;
//! memory.add(&[1.0, 1.0, -1.0, -1.0, /* second pattern */ 1.0, -1.0, 1.0, -1.0])?;
//! let recalled = memory.retrieve_blocking(&[0.9, 0.8, 0.0, 0.0], &RetrieveOptions::default())?; // half of the first
//! assert!(recalled.output[0] > 0.99 && recalled.output[3] < -0.99);
//! # Ok::<(), attractor::Error>(())
//! ```
//!
//! This is the modern Hopfield network (Ramsauer et al., "Hopfield Networks is All You Need", 2021), its sparse
//! relatives, and the wider family of associative memories. One update of a state `x` (`d` floats) against keys `k_i`
//! with values `v_i`, which are the keys unless the memory has values of their own:
//!
//! ```text
//! z_i = beta similarity(x, k_i) + b_i     w = separation(z)     x' = sum_i w_i k_i     y = sum_i w_i v_i
//! ```
//!
//! or `x'` what an [`Update`] makes of the sums.
//!
//! Hand-written WGSL kernels compute it through [`wgpu`] on Vulkan, Metal, DX12, GL and WebGPU, and a native engine
//! where there is no GPU. A plain [`mod@reference`] in `f64` judges both. Scores are processed tile by tile with online
//! normalisation; the `B x N` weights are never stored unless they are asked for.
//!
//! # Choosing a rule and beta
//!
//! A [`Rule`] is a [`Similarity`], a [`Separation`] and an inverse temperature `beta`.
//!
//! - **Attention**: [`Rule::attention`], dot similarity and softmax at `beta = 1/sqrt(d)`. Averages many patterns.
//! - **Recall of one pattern**: [`Rule::softmax`] with a larger `beta`. The answer approaches the nearest pattern as
//!   `beta` times the gap between the two largest similarities grows; 5 gives the nearest over 99 % of the weight of
//!   the two.
//! - **Exact zeros**: [`Separation::Sparsemax`] and [`Separation::Entmax`] (alpha 1.5 is between softmax and
//!   sparsemax). Patterns that are far below the best have no weight, and a retrieval can end in a stored pattern
//!   exactly.
//! - **Search**: [`Memory::search`] finds the nearest patterns with their similarities under any rule;
//!   [`Separation::TopK`] with [`RetrieveOptions::top`] weighs them, too. [`Precision::I8Exact`] reads a quarter of the
//!   bytes, with the same answers.
//! - **Similarity**: [`Similarity::Dot`] compares patterns of about equal norm, [`Similarity::Cosine`] directions alone
//!   (use a `beta` of 10 and more), [`Similarity::Euclidean`] and [`Similarity::Manhattan`] points.
//!
//! - **Other systems** have constructors: [`Rule::classical_hopfield`], [`Rule::dense`], [`Rule::sparse_distributed`],
//!   [`Rule::resonator`], [`Rule::memory_network`] and others. Several memories in one loop are a
//!   [`Network`](network::Network).
//!
//! [`RetrieveOptions::steps`] updates so many times, [`RetrieveOptions::converge`] until nothing changes, each query by
//! itself.
//!
//! # Embedding
//!
//! [`Device::from_wgpu`] joins a device that an application owns. [`Memory::record`] records a retrieval into the
//! application's encoder, from and to its buffers; [`Memory::record_readback`] brings the answers to the host, as a
//! [`Pending`] that a frame loop polls; [`Memory::job`] cuts a long retrieval into slices for many frames, and
//! [`Memory::search_job`] a search. None of them submits or waits.
//!
//! # Features
//!
//! `files`, on by default: [`Memory::save`], [`Memory::load`] and [`Memory::import`], the module [`mod@files`], and a
//! [`Tuning`](tuning::Tuning) in its file. Without default features the library depends on `wgpu`, `rayon` and a few
//! small crates.
//!
//! # Modules
//!
//! The root has what most programs use. [`mod@device`] chooses and describes adapters; [`mod@retrieval`] has what a
//! retrieval reports and when it stops; [`mod@record`] and [`mod@job`] embed retrievals into an application's frames;
//! [`mod@rule`] has the parts of a rule, [`mod@network`] several memories in one loop; [`mod@keyed`] gives patterns keys
//! of the caller's own, with metadata; [`mod@partial`] merges retrievals over parts
//! of the patterns; [`mod@explain`] tells how a retrieval would be computed; [`mod@tuning`] fits kernels to an adapter.
//!
//! # In a browser
//!
//! The library builds for `wasm32-unknown-unknown`, with and without `files`. Memories live on WebGPU, or on the CPU
//! engine, which computes on the calling thread.
//!
//! ```no_run
//! use attractor::{Device, Memory, RetrieveOptions, Rule};
//!
//! /// From JavaScript by way of `wasm_bindgen`, or from Rust by `wasm_bindgen_futures::spawn_local`.
//! pub async fn recall(patterns: &[f32], query: &[f32]) -> attractor::Result<Vec<f32>> {
//!     let device = Device::new().await?; // the CPU engine where there is no WebGPU, or only in software
//!     let mut memory = Memory::new(&device, 64, Rule::attention(64))?;
//!     memory.add(patterns)?;
//!     Ok(memory.retrieve(query, &RetrieveOptions::default())?.await?.output)
//! }
//! ```
//!
//! What differs from native programs:
//!
//! - No call waits for a GPU: the answer would come on the very thread that waits for it. Answers are awaited
//!   ([`Memory::retrieve`]) or asked for once a frame ([`Pending::is_ready`]). [`Memory::retrieve_blocking`] and
//!   [`Memory::retrieve_partial_blocking`] give [`Error::Unsupported`] on a GPU, and so do [`Pending::wait`] before the
//!   answer is ready, and [`Memory::get`] and [`Memory::rebuild`] without a
//!   [host copy](MemoryOptions::host_copy). On the CPU engine all of them answer.
//! - A browser tells of what it refuses, such as an allocation, only after the call has returned. The next answer of
//!   the same device is then [`Error::OutOfMemory`] or [`Error::Internal`], with the call and what the browser said. A
//!   buffer of another device is no [`Error::OtherDevice`]: what was recorded with it fails when it is submitted.
//! - wgpu offers neither subgroups nor cooperative matrices nor pipeline caches on WebGPU; kernels that need them are
//!   not planned. [`Device::adapters`] lists at most one adapter, usually without a name.
//! - There are no files: [`Memory::save`] and [`Memory::load`] return [`Error::File`], and `save` of a memory on a GPU,
//!   which would have to be read back, [`Error::Unsupported`].
//! - There are no threads. Types are `Send` and `Sync` as elsewhere, by wgpu's feature
//!   `fragile-send-sync-non-atomic-wasm`, which is for modules without the target feature `atomics`.
//!
//! # On Windows
//!
//! On DX12 wgpu compiles kernels with DXC where it finds `dxcompiler.dll` (1.8.2502 or later) beside the program or on
//! `PATH`, and otherwise with FXC, `d3dcompiler_47.dll`, which every Windows has. The environment variable
//! `WGPU_DX12_COMPILER` (`fxc`, `dxc`, `staticdxc`) chooses, for the devices that this library opens; a host's device
//! has what the host chose. An older `dxcompiler.dll` is not passed over. FXC compiles for shader model 5.1: without
//! subgroups and halves, and in up to five seconds a kernel.

#![deny(missing_docs)]

mod answer;
mod atomic_file;
mod cache;
mod cpu;
pub mod device;
mod draw;
mod engine;
mod error;
mod exact;
pub mod explain;
mod factor;
#[cfg(feature = "files")]
mod file_error;
mod finite;
mod fork;
mod gpu;
mod hash;
mod id;
#[doc(hidden)]
pub mod internals;
pub mod job;
pub mod keyed;
mod mask;
mod memory;
pub mod network;
pub mod partial;
mod patterns;
mod pending;
mod precision;
mod progress;
pub mod reference;
mod regular_file;
pub mod retrieval;
mod room;
pub mod rule;
mod search;
mod store;
mod strategy;
mod sync;
pub mod tuning;
mod wait;

/// Retrievals that a host records into its own command encoders: the buffers that they read and write.
pub mod record {
    pub use crate::gpu::{RecordTargets, Rows, SearchTargets, TopRows};
}

pub use device::Device;
pub use error::{Error, Result};
pub use id::{PatternId, PatternIds, PatternIdsIter};
pub use mask::Mask;
#[cfg(feature = "files")]
pub use memory::LoadOptions;
pub use memory::{Memory, MemoryOptions};
pub use patterns::Patterns;
pub use pending::Pending;
pub use precision::Precision;
pub use progress::Progress;
pub use retrieval::{Retrieval, RetrieveOptions};
pub use rule::{Rule, Separation, Similarity, Update};
pub use search::{Hits, SearchOptions};
pub use store::Pattern;
#[cfg(feature = "files")]
pub use store::files;
pub use wgpu;

/// The README's example, compiled and run with the tests.
#[cfg(all(doctest, feature = "files"))]
#[doc = include_str!("../README.md")]
struct Readme;
