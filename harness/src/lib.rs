//! What the tests, the benchmarks and the command of `attractor` share. It has no stable interface.
//!
//! Numbers and statistics: [`rng`], [`stats`], [`clock`]. Problems and their judgement by the reference: [`case`],
//! [`mod@bound`], [`network_case`], [`checks`] (the list of `attractor verify`), [`mod@trial`] and [`interval`] (random
//! problems). Sizes: [`workloads`], measured by [`mod@measure`]. Devices of this machine: [`mod@devices`], [`host`] and
//! [`backends`]. Kernels: `kernels` and [`control_flow`] for tests that read them, [`index_check`] for tests that watch
//! them. Files: `idx`, `seal`, `inputs`, `family`. Processes: [`command`].
//!
//! `shaders` adds naga; `images` the reader of IDX files; `family` the cases of the wider family; `inputs` what fuzz
//! targets and their corpus share.
#![allow(clippy::missing_panics_doc, reason = "a test that fails panics")]

pub mod backends;
pub mod bound;
pub mod case;
pub mod checks;
pub mod clock;
#[cfg(not(target_arch = "wasm32"))]
pub mod command;
pub mod control_flow;
#[cfg(not(target_arch = "wasm32"))]
pub mod devices;
#[cfg(feature = "family")]
pub mod family;
#[cfg(not(target_arch = "wasm32"))]
pub mod host;
#[cfg(feature = "images")]
pub mod idx;
pub mod index_check;
#[cfg(feature = "inputs")]
pub mod inputs;
#[cfg(not(target_arch = "wasm32"))]
pub mod interval;
#[cfg(feature = "shaders")]
pub mod kernels;
#[cfg(not(target_arch = "wasm32"))]
pub mod measure;
pub mod network_case;
pub mod rng;
#[cfg(feature = "inputs")]
pub mod seal;
pub mod stats;
#[cfg(not(target_arch = "wasm32"))]
pub mod trial;
pub mod update_bound;
pub mod workloads;

pub use bound::{bound, worst};
pub use case::{Case, patterns};
#[cfg(not(target_arch = "wasm32"))]
pub use devices::{
    adapters, devices, gpus, is_quick, quick_devices, reopened, reopened_with, runs_on, supported, thorough_devices,
};
pub use network_case::{NetworkCase, network_checks};
pub use rng::Rng;
pub use update_bound::update_share;
