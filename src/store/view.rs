//! The patterns of a memory as one retrieval sees them.

use std::fmt;
use std::sync::Arc;

use super::names::Names;

/// For every position whether it holds a pattern.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Alive {
    /// One bit a position, the first in the lowest; zeros behind the last.
    pub(super) words: Vec<u32>,
    pub(super) positions: usize,
    pub(super) count: usize,
}

impl Alive {
    /// How many patterns there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The flags as bits, the first in the lowest.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

impl std::ops::Index<usize> for Alive {
    type Output = bool;

    fn index(&self, position: usize) -> &bool {
        if self.words[position / 32] >> (position % 32) & 1 != 0 { &true } else { &false }
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alive({} of {})", self.count, self.positions)
    }
}

/// The patterns of a memory as one retrieval sees them. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub names: Names,
    pub(super) alive: Option<Arc<Alive>>,
}

impl View {
    /// For every position whether it holds a pattern; absent where all do.
    pub fn alive(&self) -> Option<&Alive> {
        self.alive.as_deref()
    }
}
