//! The limits that every plan keeps to, on any device.

/// The most loop iterations that one invocation may make. Mesa's software drivers silently end an invocation after
/// 65,535, summed over nested loops (seen with Mesa 22.3); the counts below take nothing as unrolled.
pub const ITERATION_LIMIT: u64 = 60_000;
/// The most floats of one key or value on a GPU: a row's own loops must stay within [`ITERATION_LIMIT`].
pub const MAX_DIM: usize = 65_536;
/// The most patterns of a memory on a GPU: positions are u32 in the shaders, and the largest stands for none.
pub const MAX_PATTERNS: u64 = u32::MAX as u64;
/// Bytes of partial sums that a recording may hold.
pub(super) const SCRATCH: u64 = 10 << 20;
/// Bytes of states, running sums and results that a recording may hold.
pub(super) const ROWS: u64 = 24 << 20;
/// Bytes of all that a recording may hold beside patterns, queries and answers: the chunks of scores get what is left.
pub(super) const WORKSPACE: u64 = 62 << 20;
