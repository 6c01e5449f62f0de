//! Where a memory lives and computes: a GPU through wgpu, a device that the host application owns, or the CPU engine.

pub(crate) mod handle;
pub(crate) mod info;
pub(crate) mod options;
mod select;
#[cfg(feature = "files")]
mod tuning;

pub use crate::cache::user_cache_folder;
pub use handle::Device;
pub use info::{DeviceInfo, DeviceKind};
pub use options::{AdapterChoice, DeviceOptions, SoftwareAdapters};
