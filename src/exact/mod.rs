//! Scores, weights and energies in `f64`: the exact half of both engines and of partial states.
//!
//! Engines compute approximate scores over all patterns. What decides an answer (the scores of the few patterns that
//! can have weight, the separation solved over them, an energy) is computed here, in `f64`, by one implementation.
//! Nothing here knows an engine, a memory or a device.

pub(crate) mod energy;
pub(crate) mod entmax;
pub(crate) mod entry;
pub(crate) mod scores;
pub(crate) mod separation;
pub(crate) mod softmax;
pub(crate) mod solved;
pub(crate) mod threshold;
pub(crate) mod topk;
pub(crate) mod unnormalized;
