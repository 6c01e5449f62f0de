//! The ids of a memory and the positions of its patterns. Positions are rows of the windows; an id names a pattern for
//! as long as it is stored and is never used again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "files")]
use super::names::Run;
use super::names::{Names, PAGE};
use super::snapshots::Snapshots;
use super::view::{Alive, View};
use crate::id::{PatternId, PatternIds};

/// The ids of a memory.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    names: Names,
    /// The next id to give.
    next: u64,
    /// Positions of the patterns that are not where their run has them.
    moved: HashMap<u64, usize>,
    /// Positions without a pattern.
    removed: usize,
    /// Those of them that a snapshot may see, and when each was freed.
    held: VecDeque<(u64, usize)>,
    /// How many others there are, and a page that no free position is before.
    free: usize,
    first_page: usize,
    /// Changes whenever a position gets another pattern; no other memory has the same.
    generation: u64,
    alive: OnceLock<Arc<Alive>>,
}

/// Where the rows of one `add` go: first into positions that were freed, in order, then behind all others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub freed: Vec<usize>,
    pub fresh: usize,
}

/// A generation that no memory of this process has had.
fn generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            names: Names::default(),
            next: 0,
            moved: HashMap::new(),
            removed: 0,
            held: VecDeque::new(),
            free: 0,
            first_page: 0,
            generation: generation(),
            alive: OnceLock::new(),
        }
    }
}

impl Ids {
    /// Patterns that are stored.
    pub fn len(&self) -> usize {
        self.names.positions - self.removed
    }

    /// Positions in use, removed ones included.
    pub fn positions(&self) -> usize {
        self.names.positions
    }

    /// What a retrieval that begins now sees.
    pub fn view(&self) -> View {
        let alive = (self.removed > 0).then(|| self.alive.get_or_init(|| Arc::new(self.look())).clone());
        View { names: self.names.clone(), alive }
    }

    fn look(&self) -> Alive {
        let positions = self.names.positions;
        let mut words = vec![u32::MAX; positions.div_ceil(32)];
        for (page, words) in self.names.pages.iter().zip(words.chunks_mut(PAGE / 32)) {
            let Some(page) = page else { continue };
            for (alive, words) in page.alive.iter().zip(words.chunks_mut(2)) {
                let halves = [*alive as u32, (*alive >> 32) as u32];
                words.copy_from_slice(&halves[..words.len()]);
            }
        }
        if let (Some(last), rest @ 1..) = (words.last_mut(), positions % 32) {
            *last &= (1 << rest) - 1;
        }
        Alive { words, positions, count: self.len() }
    }

    /// What positions mean: two that are equal are of one memory, and no position of it has come to mean another
    /// pattern in between.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Frees the positions that no snapshot sees any more.
    fn release(&mut self, snapshots: &Snapshots) {
        if self.held.is_empty() {
            return;
        }
        let oldest = snapshots.oldest();
        while let Some((_, position)) = self.held.front().copied().filter(|(freed, _)| *freed <= oldest) {
            self.held.pop_front();
            self.free_at(position);
        }
    }

    fn free_at(&mut self, position: usize) {
        self.names.page(position).release(position % PAGE);
        self.free += 1;
        self.first_page = self.first_page.min(position / PAGE);
    }

    /// How many of `rows` new patterns need positions that are not in use.
    pub fn fresh(&mut self, rows: usize, snapshots: &Snapshots) -> usize {
        self.release(snapshots);
        rows.saturating_sub(self.free)
    }

    /// Where `rows` new patterns would go: not to positions that a snapshot sees.
    pub fn places(&mut self, rows: usize, snapshots: &Snapshots) -> Places {
        let fresh = self.fresh(rows, snapshots);
        let mut freed = Vec::with_capacity(rows - fresh);
        for (number, page) in self.names.pages.iter().enumerate().skip(self.first_page) {
            if freed.len() == rows - fresh {
                break;
            }
            let Some(page) = page.as_ref().filter(|page| page.frees > 0) else { continue };
            if freed.is_empty() {
                self.first_page = number;
            }
            freed.extend(page.frees().take(rows - fresh - freed.len()).map(|at| number * PAGE + at));
        }
        Places { freed, fresh }
    }

    /// Puts the pattern `id` at `position`, which is free.
    fn fill(&mut self, position: usize, id: u64) {
        self.names.page(position).fill(position % PAGE, id);
        self.moved.insert(id, position);
        self.removed -= 1;
        self.free -= 1;
        self.generation = generation();
        self.alive.take();
    }

    /// Gives ids to new patterns at `places`.
    pub fn add(&mut self, places: &Places) -> PatternIds {
        let start = self.next;
        for position in &places.freed {
            self.fill(*position, self.next);
            self.next += 1;
        }
        if places.fresh > 0 {
            let positions = self.names.positions;
            if self.names.expected(positions) != Some(self.next) {
                self.names.start_run(positions, self.next);
            }
            self.names.positions += places.fresh;
            self.next += places.fresh as u64;
            self.alive.take();
        }
        PatternIds::new(start..self.next)
    }

    /// Where the pattern `id` is.
    pub fn position(&self, id: PatternId) -> Option<usize> {
        match self.moved.get(&id.0) {
            Some(position) => Some(*position),
            None => self.names.home(id.0).filter(|position| self.names.id(*position) == Some(id)),
        }
    }

    /// Which pattern is at `position`.
    pub fn id(&self, position: usize) -> Option<PatternId> {
        self.names.id(position)
    }

    /// Frees the position of `id` for patterns that are added once no snapshot sees it.
    pub fn remove(&mut self, id: PatternId, snapshots: &Snapshots) -> Option<usize> {
        let position = self.position(id)?;
        self.release(snapshots);
        self.moved.remove(&id.0);
        self.names.page(position).remove(position % PAGE);
        self.removed += 1;
        self.alive.take();
        match snapshots.any() {
            true => self.held.push_back((snapshots.now(), position)),
            false => self.free_at(position),
        }
        Some(position)
    }

    /// Moves `id` to the position `to`, which is free, or behind all others, and frees its own.
    pub fn relocate(&mut self, id: PatternId, to: Option<usize>, snapshots: &Snapshots) {
        if self.remove(id, snapshots).is_none() {
            return;
        }
        match to {
            Some(position) => self.fill(position, id.0),
            None => {
                let position = self.names.positions;
                self.names.positions += 1;
                // Counted as others are that are filled.
                self.removed += 1;
                self.free_at(position);
                self.fill(position, id.0);
            }
        }
    }

    /// The same, of a memory that no snapshot sees.
    pub fn settled(&self) -> Self {
        let mut ids = self.clone();
        ids.release(&Snapshots::default());
        ids
    }

    /// The id that the next pattern would get.
    #[cfg(feature = "files")]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether ids are more than positions counted on from that of the first pattern.
    #[cfg(feature = "files")]
    pub fn has_table(&self) -> bool {
        let positions = self.names.positions;
        positions > 0
            && !(self.names.is_by_run()
                && self.names.runs.len() == 1
                && self.names.expected(positions) == Some(self.next))
    }

    /// The ids of `positions` positions in use, of which the last were given last: those of a file without a table.
    #[cfg(feature = "files")]
    pub fn consecutive(next: u64, positions: usize) -> Option<Self> {
        let mut ids = Self { next: next.checked_sub(positions as u64)?, ..Self::default() };
        ids.add(&Places { freed: Vec::new(), fresh: positions });
        Some(ids)
    }

    /// The ids of the patterns at each position, `None` where one was removed. Refuses, saying why, ids that are there
    /// twice or that are yet to be given.
    #[cfg(feature = "files")]
    pub fn from_table(next: u64, table: impl ExactSizeIterator<Item = Option<u64>>) -> Result<Self, String> {
        let mut ids = Self { next, ..Self::default() };
        ids.names.positions = table.len();
        let mut others = Vec::new();
        let mut table = table.enumerate().filter_map(|(position, id)| match id {
            Some(id) => Some((position, id)),
            None => {
                ids.removed += 1;
                ids.names.page(position).remove(position % PAGE);
                ids.free_at(position);
                None
            }
        });
        let mut runs: Vec<Run> = Vec::new();
        let by = |run: &Run, position: usize| run.id.checked_add((position - run.position) as u64);
        let mut coming = table.next();
        while let Some((position, id)) = coming {
            coming = table.next();
            if id >= next {
                return Err(format!("position {position} has the id {id}, but the next to be given is {next}"));
            }
            let starts = match runs.last() {
                None => true,
                Some(run) if by(run, position) == Some(id) => continue,
                // Not for one that is out of line and whose successor goes on as before.
                Some(run) => {
                    by(run, position).is_some_and(|expected| id > expected)
                        && coming.is_none_or(|(position, id)| by(run, position) != Some(id))
                }
            };
            match starts {
                true => runs.push(Run { position, id }),
                false => others.push((position, id)),
            }
        }
        drop(table);
        // Before the first pattern every position is removed, and its run is never asked.
        if let Some(first) = runs.first().filter(|run| run.position > 0) {
            let id = first.id.saturating_sub(first.position as u64);
            runs.insert(0, Run { position: 0, id });
        }
        ids.names.runs = Arc::new(runs);
        // What is out of line is by run no more, before anything is looked up.
        for &(position, id) in &others {
            ids.names.page(position).fill(position % PAGE, id);
        }
        for (position, id) in others {
            if let Some(other) = ids.position(PatternId(id)) {
                let (first, second) = (other.min(position), other.max(position));
                return Err(format!("positions {first} and {second} both have the id {id}"));
            }
            ids.moved.insert(id, position);
        }
        Ok(ids)
    }

    /// Forgets every pattern, but not which ids were given.
    pub fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }
}

#[cfg(test)]
mod tests;
