//! Which patterns a query may use. The two conventions of the field are opposite, so the direction is in the name: `keep`
//! lists what may be used (attention masks), `exclude` what may not (hopfield-layers, padding masks).

use crate::error::{Error, Result};

/// A mask over patterns, the same for all queries or one row for each.
///
/// ```
/// use attractor::Mask;
/// let keep = Mask::keep(&[true, true, false]);
/// assert_eq!(keep, Mask::exclude(&[false, false, true]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    keep: Vec<bool>,
    per_query: bool,
}

impl Mask {
    /// `N` flags: `true` where a pattern may be used, by every query.
    pub fn keep(patterns: &[bool]) -> Self {
        Self { keep: patterns.to_vec(), per_query: false }
    }

    /// `N` flags: `true` where a pattern may not be used, by any query.
    pub fn exclude(patterns: &[bool]) -> Self {
        Self { keep: patterns.iter().map(|flag| !flag).collect(), per_query: false }
    }

    /// `B x N` flags, row-major: `true` where that query may use that pattern.
    pub fn keep_per_query(flags: &[bool]) -> Self {
        Self { per_query: true, ..Self::keep(flags) }
    }

    /// `B x N` flags, row-major: `true` where that query may not use that pattern.
    pub fn exclude_per_query(flags: &[bool]) -> Self {
        Self { per_query: true, ..Self::exclude(flags) }
    }

    /// Whether each query has its own row.
    pub fn is_per_query(&self) -> bool {
        self.per_query
    }

    /// Whether query `b` may use pattern `i` of `patterns`.
    pub(crate) fn keeps(&self, b: usize, i: usize, patterns: usize) -> bool {
        self.keep[if self.per_query { b * patterns + i } else { i }]
    }

    pub(crate) fn check(&self, operation: &'static str, batch: usize, patterns: usize) -> Result<()> {
        let expected = if self.per_query { batch * patterns } else { patterns };
        if self.keep.len() == expected {
            return Ok(());
        }
        let shape = if self.per_query { format!("{batch} x {patterns} = {expected}") } else { expected.to_string() };
        Err(Error::Shape {
            operation,
            expected: format!("a mask of {shape} flags"),
            got: format!("{} flags", self.keep.len()),
        })
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
        assert!(mask.check("test", 2, 2).is_ok());
        let message = mask.check("test", 3, 2).unwrap_err().to_string();
        assert!(message.contains("3 x 2 = 6 flags") && message.contains("4 flags"), "{message}");
        assert!(Mask::keep(&[true; 5]).check("test", 3, 5).is_ok());
    }
}
