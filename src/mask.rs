//! Which patterns a query may use. The two conventions of the field are opposite, so the direction is in the name:
//! `keep` lists what may be used (attention masks), `exclude` what may not (hopfield-layers, padding masks).

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// A mask over patterns, the same for all queries or one row for each. A clone shares the flags.
///
/// A mask that a memory made ([`Memory::mask_where`](crate::Memory::mask_where)) is refused with
/// [`Error::Stale`](crate::Error) once positions of that memory mean other patterns than they did. A mask of flags
/// cannot know.
///
/// ```
/// use attractor::Mask;
/// let keep = Mask::keep(&[true, true, false]);
/// assert_eq!(keep, Mask::exclude(&[false, false, true]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    keep: Arc<[bool]>,
    per_query: bool,
    /// What the positions meant to the memory that made it.
    generation: Option<u64>,
}

impl Mask {
    /// `N` flags: `true` where a pattern may be used, by every query.
    pub fn keep(patterns: &[bool]) -> Self {
        Self { keep: patterns.into(), per_query: false, generation: None }
    }

    /// `N` flags: `true` where a pattern may not be used, by any query.
    pub fn exclude(patterns: &[bool]) -> Self {
        Self { keep: patterns.iter().map(|flag| !flag).collect(), per_query: false, generation: None }
    }

    /// `B x N` flags, row-major: `true` where that query may use that pattern.
    pub fn keep_per_query(flags: &[bool]) -> Self {
        Self { per_query: true, ..Self::keep(flags) }
    }

    /// `B x N` flags, row-major: `true` where that query may not use that pattern.
    pub fn exclude_per_query(flags: &[bool]) -> Self {
        Self { per_query: true, ..Self::exclude(flags) }
    }

    /// A mask for every query that a memory of this generation makes.
    pub(crate) fn of_memory(keep: Vec<bool>, generation: u64) -> Self {
        Self { keep: keep.into(), per_query: false, generation: Some(generation) }
    }

    /// Whether each query has its own row.
    pub fn is_per_query(&self) -> bool {
        self.per_query
    }

    /// Whether query `b` may use pattern `i` of `patterns`.
    pub(crate) fn keeps(&self, b: usize, i: usize, patterns: usize) -> bool {
        self.keep[if self.per_query { b * patterns + i } else { i }]
    }

    /// Which of `patterns` patterns query `b` may use.
    pub(crate) fn row(&self, b: usize, patterns: usize) -> &[bool] {
        let first = if self.per_query { b * patterns } else { 0 };
        &self.keep[first..first + patterns]
    }

    pub(crate) fn check(&self, operation: &'static str, batch: usize, memory: &MemoryExtent) -> Result<()> {
        let patterns = memory.patterns;
        if let Some(generation) = self.generation {
            let why = match self.keep.len() {
                _ if generation != memory.generation => {
                    "positions mean other patterns than when the memory made it, or another memory made it".into()
                }
                then if then != patterns => {
                    format!("the memory had {then} positions when it made it, and has {patterns}")
                }
                _ => return Ok(()),
            };
            return Err(Error::Stale { operation, what: "mask", why });
        }
        let rows = if self.per_query { batch } else { 1 };
        if rows.checked_mul(patterns) == Some(self.keep.len()) {
            return Ok(());
        }
        let flags = rows as u128 * patterns as u128;
        let shape = if self.per_query { format!("{batch} x {patterns} = {flags}") } else { flags.to_string() };
        Err(Error::Shape {
            operation,
            expected: format!("a mask of {shape} flags"),
            got: format!("{} flags", self.keep.len()),
        })
    }
}

/// The extent of a memory, which options and masks must fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryExtent {
    /// `d`.
    pub dim: usize,
    /// Positions in use.
    pub patterns: usize,
    /// Changes whenever a position gets another pattern.
    pub generation: u64,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.keep.iter().filter(|keep| **keep).count();
        f.debug_struct("Mask")
            .field("flags", &self.keep.len())
            .field("kept", &kept)
            .field("per_query", &self.per_query)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_and_shapes() {
        let mask = Mask::exclude_per_query(&[true, false, false, true]);
        let flags: Vec<bool> = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(b, i)| mask.keeps(b, i, 2)).to_vec();
        assert_eq!(flags, [false, true, true, false]);
        let facing = |patterns| MemoryExtent { dim: 1, patterns, generation: 7 };
        assert!(mask.check("test", 2, &facing(2)).is_ok());
        let message = mask.check("test", 3, &facing(2)).unwrap_err().to_string();
        assert!(message.contains("3 x 2 = 6 flags") && message.contains("4 flags"), "{message}");
        assert!(Mask::keep(&[true; 5]).check("test", 3, &facing(5)).is_ok());
        // 2^62 x 4 is 0 in 64 bits, and 2^63 + 2 times 2 is 4.
        assert!(Mask::keep_per_query(&[]).check("test", 1 << 62, &facing(4)).is_err());
        assert!(mask.check("test", (1 << 63) + 2, &facing(2)).is_err());
    }

    #[test]
    fn a_mask_of_a_memory_knows_when_it_is_stale() {
        let mask = Mask::of_memory(vec![true, false], 7);
        let check = |patterns, generation| mask.check("test", 1, &MemoryExtent { dim: 1, patterns, generation });
        assert!(check(2, 7).is_ok());
        for (patterns, generation, word) in [(2, 8, "other patterns"), (3, 7, "had 2 positions")] {
            let error = check(patterns, generation).unwrap_err();
            assert!(matches!(error, Error::Stale { .. }) && error.to_string().contains(word), "{error}");
        }
        assert_eq!(format!("{mask:?}"), "Mask { flags: 2, kept: 1, per_query: false, .. }");
    }
}
