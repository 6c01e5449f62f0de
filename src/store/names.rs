//! The pattern at each position.
//!
//! New positions get consecutive ids, so both directions are arithmetic over a few runs. Exceptions (removed patterns
//! and positions that were filled again) are kept in pages, which are made when they are first needed. A change costs a
//! page at most, however many patterns there are, and a retrieval that still needs the ids as they were shares the
//! pages instead of copying them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::id::PatternId;

/// Positions of one page.
pub(super) const PAGE: usize = 4096;
/// What a page has where the run of the position gives the id.
pub(super) const BY_RUN: u64 = u64::MAX;

/// Consecutive positions with consecutive ids, up to the next run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub position: usize,
    pub id: u64,
}

/// Positions some of which have no pattern, or not the one that their run says.
#[derive(Clone)]
pub(super) struct Page {
    /// One bit a position: whether it holds a pattern.
    pub alive: [u64; PAGE / 64],
    /// One bit a position: whether a new pattern may go there.
    free: [u64; PAGE / 64],
    pub frees: usize,
    /// Ids that are not those of the run; absent where there is none.
    ids: Option<Box<[u64]>>,
}

impl Page {
    const FULL: Self = Self { alive: [u64::MAX; PAGE / 64], free: [0; PAGE / 64], frees: 0, ids: None };

    pub(super) fn is_alive(&self, at: usize) -> bool {
        self.alive[at / 64] >> (at % 64) & 1 != 0
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.alive[at / 64] &= !(1 << (at % 64));
    }

    pub(super) fn release(&mut self, at: usize) {
        self.free[at / 64] |= 1 << (at % 64);
        self.frees += 1;
    }

    pub(super) fn fill(&mut self, at: usize, id: u64) {
        let bit = 1 << (at % 64);
        self.alive[at / 64] |= bit;
        self.frees -= usize::from(self.free[at / 64] & bit != 0);
        self.free[at / 64] &= !bit;
        self.ids.get_or_insert_with(|| vec![BY_RUN; PAGE].into())[at] = id;
    }

    /// Where new patterns may go, in order.
    pub(super) fn frees(&self) -> impl Iterator<Item = usize> {
        self.free.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(i, word)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| 64 * i + bit)
        })
    }
}

/// The pattern at each position, as it was when this was taken. A clone shares everything.
#[derive(Clone, Default)]
pub(crate) struct Names {
    /// By rising position and rising id.
    pub(super) runs: Arc<Vec<Run>>,
    /// Shorter than the positions where the last of them are all by run.
    pub(super) pages: Arc<Vec<Option<Arc<Page>>>>,
    /// Positions in use, removed ones included.
    pub(super) positions: usize,
}

impl Names {
    /// Which pattern is at `position`.
    pub fn id(&self, position: usize) -> Option<PatternId> {
        if position >= self.positions {
            return None;
        }
        if let Some(Some(page)) = self.pages.get(position / PAGE) {
            let at = position % PAGE;
            if !page.is_alive(at) {
                return None;
            }
            if let Some(id) = page.ids.as_ref().map(|ids| ids[at]).filter(|id| *id != BY_RUN) {
                return Some(PatternId(id));
            }
        }
        let run = self.runs[self.runs.partition_point(|run| run.position <= position) - 1];
        Some(PatternId(run.id + (position - run.position) as u64))
    }

    /// The position that the run of `id` gives it, whatever is at that position.
    pub(super) fn home(&self, id: u64) -> Option<usize> {
        let next = self.runs.partition_point(|run| run.id <= id);
        let run = self.runs[next.checked_sub(1)?];
        let end = self.runs.get(next).map_or(self.positions, |run| run.position);
        usize::try_from(id - run.id).ok()?.checked_add(run.position).filter(|position| *position < end)
    }

    /// The position of each pattern; `None` where none is asked for or stored.
    pub fn positions_of(&self, ids: &[Option<PatternId>]) -> Vec<Option<usize>> {
        let at_home = |id: PatternId| self.home(id.0).filter(|position| self.id(*position) == Some(id));
        let mut positions: Vec<Option<usize>> = ids.iter().map(|id| id.and_then(at_home)).collect();
        let missing = || ids.iter().zip(&positions).filter(|(id, position)| id.is_some() && position.is_none());
        let moved: BTreeSet<u64> = missing().filter_map(|(id, _)| id.map(|id| id.0)).collect();
        if moved.is_empty() {
            return positions;
        }
        let mut found = BTreeMap::new();
        for (number, page) in self.pages.iter().enumerate() {
            let Some(Page { ids: Some(ids), .. }) = page.as_deref() else { continue };
            for (at, id) in ids.iter().enumerate().filter(|(_, id)| moved.contains(*id)) {
                let position = number * PAGE + at;
                if self.id(position) == Some(PatternId(*id)) {
                    found.insert(*id, position);
                }
            }
        }
        for (id, position) in ids.iter().zip(&mut positions).filter(|(_, position)| position.is_none()) {
            *position = id.and_then(|id| found.get(&id.0).copied());
        }
        positions
    }

    /// The id that the next position would have by the last run.
    pub(super) fn expected(&self, position: usize) -> Option<u64> {
        self.runs.last().map(|run| run.id + (position - run.position) as u64)
    }

    pub(super) fn start_run(&mut self, position: usize, id: u64) {
        Arc::make_mut(&mut self.runs).push(Run { position, id });
    }

    pub(super) fn page(&mut self, position: usize) -> &mut Page {
        let pages = Arc::make_mut(&mut self.pages);
        let number = position / PAGE;
        if pages.len() <= number {
            pages.resize(number + 1, None);
        }
        Arc::make_mut(pages[number].get_or_insert_with(|| Arc::new(Page::FULL)))
    }

    /// Whether every position has the id of its run.
    #[cfg(feature = "files")]
    pub(super) fn is_by_run(&self) -> bool {
        self.pages.iter().all(Option::is_none)
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.runs, &other.runs) && Arc::ptr_eq(&self.pages, &other.pages);
        self.positions == other.positions
            && (shared || (0..self.positions).all(|position| self.id(position) == other.id(position)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({} positions)", self.positions)
    }
}
