//! Calls from the other side of the border, hostile ones included.

mod calls;
mod concurrent;
mod refusals;
mod roundtrip;
