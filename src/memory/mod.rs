//! The memory: patterns that are stored once and recalled by queries.

mod batch;
mod block;
mod build;
mod change;
#[cfg(feature = "files")]
mod files;
mod handle;
mod insertion;
mod network;
mod options;
mod rebuild;
mod record;
mod request;
mod retrieve;
mod search;

pub(crate) use block::Block;
pub use handle::Memory;
#[cfg(feature = "files")]
pub use options::LoadOptions;
pub use options::MemoryOptions;
