//! Exact answers from keys in 8 bits: bounds of every score from a scan of the 8-bit rows, and lists of the patterns
//! that the bounds do not rule out. `docs/MATH.md` has the proof.

pub(super) mod counts;
pub(super) mod interval;
pub(super) mod levels;
pub(super) mod list;
pub(super) mod query;
mod scan;
