//! Timings of retrievals and searches, and of what a device could do at best.

pub mod beside;
pub mod cpu;
pub mod family;
pub mod gpu;
pub mod measurement;
pub mod search;
pub mod timestamps;

/// What goes wrong while measuring.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
