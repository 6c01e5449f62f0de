//! A hash that is the same in every build, for names of files.

/// FNV-1a, 64 bits: the same for the same bytes, whatever built this.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
