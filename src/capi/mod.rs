//! The C ABI, described for C in `include/attractor.h`: opaque handles, error codes with messages, host memory in and out,
//! and polling for whoever has a frame loop. It is there under the feature `capi`.
//!
//! ```text
//! cargo rustc --release --lib --no-default-features --features capi,files --crate-type cdylib,staticlib
//! ```
//!
//! gives `target/release/libattractor.so` (`.dylib`, `attractor.dll`) and `libattractor.a` (`attractor.lib`). The manifest
//! names neither crate type: every ordinary build would link both of them, for nobody. The header is generated from the
//! documentation of this module and is the same whatever the features; a test keeps it so.
//!
//! # For whoever calls these functions from Rust
//!
//! They are `unsafe` by one contract, that of the header: a handle is one that this library gave out and that has not been
//! freed, a pointer with a length points to so many elements, and neither is freed or written while a call uses it. What
//! can be told from the pointers and numbers alone is checked: null, alignment, overflow, lengths that disagree.

#![allow(
    unsafe_code,
    reason = "C hands over raw pointers, which nothing but the contract above makes slices and handles"
)]
#![allow(non_camel_case_types, reason = "types have the names that they have in C")]
#![allow(clippy::enum_glob_use, reason = "variants carry the prefix of their enum, as C needs it")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all, above")]

mod device;
mod error;
mod memory;
mod pending;
mod pointer;
mod retrieval;
mod versioned;

pub use device::*;
pub use error::{attractor_error, attractor_last_error_message, attractor_version};
pub use memory::*;
pub use pending::*;
pub use retrieval::*;

/// The header lets any number of threads use any handle at once.
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<attractor_device>();
    any_thread::<attractor_adapters>();
    any_thread::<attractor_memory>();
    any_thread::<attractor_pending>();
    any_thread::<attractor_retrieval>();
};
