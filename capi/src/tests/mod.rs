//! Calls as C programs make them, hostile ones included.

mod calls;
mod concurrent;
mod refusals;
mod roundtrip;
