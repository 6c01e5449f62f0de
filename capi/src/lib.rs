//! The C library: opaque handles, error codes with messages, arrays in host memory, and retrievals that a frame loop
//! can poll. `include/attractor.h` is generated from the documentation of this crate and describes it for C; a test
//! compares the two.
//!
//! ```text
//! cargo build --release -p attractor-capi
//! ```
//!
//! builds `target/release/libattractor.so` (`.dylib`, `attractor.dll`) and `libattractor.a` (`attractor.lib`).
//! `cargo cinstall --release -p attractor-capi`, of cargo-c, installs them with the header and a file for pkg-config.
//!
//! # The contract of every function
//!
//! The functions are `unsafe` by one contract, that of the header: a handle is one that this library returned and that
//! has not been freed, a pointer with a length points to that many elements, and neither is freed or written while a
//! call uses it. What can be seen from pointers and numbers alone is checked: null, alignment, overflow, lengths that
//! disagree.

#![allow(unsafe_code, reason = "C passes raw pointers, which become slices and handles by the contract above alone")]
#![allow(non_camel_case_types, reason = "types have the names that they have in C")]
#![allow(clippy::enum_glob_use, reason = "variants carry the prefix of their enum, as C needs it")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all functions, above")]

#[cfg(target_arch = "wasm32")]
compile_error!("the C library is for native programs");

mod codes;
mod device;
mod error;
mod files;
mod memory;
mod patterns;
mod pending;
mod pointer;
mod retrieval;
mod retrieve;
mod search;
mod version;
mod versioned;

#[cfg(test)]
mod tests;

pub use codes::*;
pub use device::*;
pub use error::*;
pub use files::*;
pub use memory::*;
pub use patterns::*;
pub use pending::*;
pub use retrieval::*;
pub use retrieve::*;
pub use search::*;
pub use version::*;

/// The header allows any number of threads to use any handle at once.
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<attractor_device>();
    any_thread::<attractor_adapters>();
    any_thread::<attractor_memory>();
    any_thread::<attractor_pending>();
    any_thread::<attractor_pending_hits>();
    any_thread::<attractor_retrieval>();
    any_thread::<attractor_hits>();
};
