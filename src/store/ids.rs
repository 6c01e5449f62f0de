//! Which pattern is at which position. Positions are rows of the windows; an id names a pattern for as long as it is
//! stored and is never used again.
//!
//! New positions get consecutive ids, so that both directions are arithmetic over few runs. What differs from that,
//! removed patterns and positions that were filled again, is kept in pages that are made when they are first needed. A
//! change therefore costs a page at most, however many patterns there are, and a retrieval that still needs the ids as
//! they were shares the pages instead of copying them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{PatternId, PatternIds, Snapshots};

/// Positions of one page.
const PAGE: usize = 4096;
/// What a page has where the run of the position gives the id.
const BY_RUN: u64 = u64::MAX;

/// Consecutive positions with consecutive ids, up to the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    position: usize,
    id: u64,
}

/// Positions some of which have no pattern, or not the one that their run says.
#[derive(Clone)]
struct Page {
    /// One bit a position: whether a pattern is there.
    alive: [u64; PAGE / 64],
    /// One bit a position: whether a new pattern may go there.
    free: [u64; PAGE / 64],
    frees: usize,
    /// Ids that are not those of the run; absent where there is none.
    ids: Option<Box<[u64]>>,
}

impl Page {
    const FULL: Self = Self { alive: [u64::MAX; PAGE / 64], free: [0; PAGE / 64], frees: 0, ids: None };

    fn is_alive(&self, at: usize) -> bool {
        self.alive[at / 64] >> (at % 64) & 1 != 0
    }

    fn remove(&mut self, at: usize) {
        self.alive[at / 64] &= !(1 << (at % 64));
    }

    fn release(&mut self, at: usize) {
        self.free[at / 64] |= 1 << (at % 64);
        self.frees += 1;
    }

    fn fill(&mut self, at: usize, id: u64) {
        let bit = 1 << (at % 64);
        self.alive[at / 64] |= bit;
        self.frees -= usize::from(self.free[at / 64] & bit != 0);
        self.free[at / 64] &= !bit;
        self.ids.get_or_insert_with(|| vec![BY_RUN; PAGE].into())[at] = id;
    }

    /// Where new patterns may go, in order.
    fn frees(&self) -> impl Iterator<Item = usize> {
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
    runs: Arc<Vec<Run>>,
    /// Shorter than the positions where the last of them are all by run.
    pages: Arc<Vec<Option<Arc<Page>>>>,
    /// Positions in use, removed ones included.
    positions: usize,
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

    /// The position that the run of `id` gives it, whatever is there.
    fn home(&self, id: u64) -> Option<usize> {
        let next = self.runs.partition_point(|run| run.id <= id);
        let run = self.runs[next.checked_sub(1)?];
        let end = self.runs.get(next).map_or(self.positions, |run| run.position);
        usize::try_from(id - run.id).ok()?.checked_add(run.position).filter(|position| *position < end)
    }

    /// The id that the next position would have by the last run.
    fn expected(&self, position: usize) -> Option<u64> {
        self.runs.last().map(|run| run.id + (position - run.position) as u64)
    }

    fn start_run(&mut self, position: usize, id: u64) {
        Arc::make_mut(&mut self.runs).push(Run { position, id });
    }

    fn page(&mut self, position: usize) -> &mut Page {
        let pages = Arc::make_mut(&mut self.pages);
        let number = position / PAGE;
        if pages.len() <= number {
            pages.resize(number + 1, None);
        }
        Arc::make_mut(pages[number].get_or_insert_with(|| Arc::new(Page::FULL)))
    }

    /// Whether every position has the id of its run.
    #[cfg(feature = "files")]
    fn is_by_run(&self) -> bool {
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

/// For every position whether a pattern is there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Alive {
    /// One bit a position, the first in the lowest; zeros behind the last.
    words: Vec<u32>,
    positions: usize,
    count: usize,
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
    alive: Option<Arc<Alive>>,
}

impl View {
    /// For every position whether a pattern is there; absent where none is missing.
    pub fn alive(&self) -> Option<&Alive> {
        self.alive.as_deref()
    }
}

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
    /// Changes whenever a position comes to mean another pattern; no other memory has the same.
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

    /// Frees the position of `id` for patterns that come once no snapshot sees it.
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

    /// Moves `id` to one new place, and frees its position.
    pub fn relocate(&mut self, id: PatternId, places: &Places, snapshots: &Snapshots) {
        if self.remove(id, snapshots).is_none() {
            return;
        }
        match places.freed.first() {
            Some(position) => self.fill(*position, id.0),
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

    /// The ids of `positions` positions in use, of which the last were given last: what there is without a table.
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
mod tests {
    use super::*;

    fn add(ids: &mut Ids, rows: usize) -> (PatternIds, Places) {
        let places = ids.places(rows, &Snapshots::default());
        (ids.add(&places), places)
    }

    fn flags(ids: &Ids) -> Option<Vec<bool>> {
        let view = ids.view();
        view.alive().map(|alive| (0..ids.positions()).map(|position| alive[position]).collect())
    }

    #[test]
    fn ids_stay_and_positions_are_filled_again() {
        let (mut ids, none) = (Ids::default(), Snapshots::default());
        assert_eq!(add(&mut ids, 5).0, PatternIds::new(0..5));
        assert_eq!(flags(&ids), None);
        assert_eq!((ids.remove(PatternId(3), &none), ids.remove(PatternId(1), &none)), (Some(3), Some(1)));
        assert_eq!(ids.remove(PatternId(1), &none), None, "it is gone");
        assert_eq!((ids.len(), ids.positions()), (3, 5));
        assert_eq!(flags(&ids), Some(vec![true, false, true, false, true]));
        let (added, places) = add(&mut ids, 3);
        assert_eq!(added, PatternIds::new(5..8));
        assert_eq!(places, Places { freed: vec![1, 3], fresh: 1 });
        assert_eq!(flags(&ids), None);
        assert_eq!([5, 6, 7, 4].map(|id| ids.position(PatternId(id))), [Some(1), Some(3), Some(5), Some(4)]);
        assert_eq!((ids.position(PatternId(1)), ids.id(1)), (None, Some(PatternId(5))));
    }

    #[test]
    fn positions_that_a_snapshot_sees_are_left_alone() {
        let (mut ids, snapshots) = (Ids::default(), Snapshots::default());
        add(&mut ids, 4);
        ids.remove(PatternId(0), &snapshots);
        let snapshot = snapshots.take();
        ids.remove(PatternId(1), &snapshots);
        let places = ids.places(2, &snapshots);
        assert_eq!(places, Places { freed: vec![0], fresh: 1 }, "what was free before may be filled");
        let moved = ids.places(1, &snapshots);
        ids.relocate(PatternId(3), &moved, &snapshots);
        assert_eq!((ids.position(PatternId(3)), ids.id(0), ids.id(3)), (Some(0), Some(PatternId(3)), None));
        let moved = ids.places(1, &snapshots);
        ids.relocate(PatternId(2), &moved, &snapshots);
        assert_eq!((ids.position(PatternId(2)), ids.positions(), ids.len()), (Some(4), 5, 2));
        drop(snapshot);
        assert_eq!(ids.places(4, &snapshots), Places { freed: vec![1, 2, 3], fresh: 1 });
    }

    #[test]
    fn clear_gives_no_id_twice() {
        let mut ids = Ids::default();
        add(&mut ids, 4);
        ids.remove(PatternId(0), &Snapshots::default());
        ids.clear();
        assert_eq!((ids.len(), ids.position(PatternId(2)), ids.id(0)), (0, None, None));
        assert_eq!(add(&mut ids, 2).0, PatternIds::new(4..6));
        assert_eq!((ids.id(0), ids.position(PatternId(5))), (Some(PatternId(4)), Some(1)));
    }

    /// The ids of every position, and where each id is, as plain tables have them.
    #[derive(Default)]
    struct Plain {
        at: Vec<Option<u64>>,
        free: std::collections::BTreeSet<usize>,
        held: Vec<usize>,
        next: u64,
    }

    impl Plain {
        fn check(&self, ids: &Ids) {
            assert_eq!(ids.positions(), self.at.len());
            assert_eq!(ids.len(), self.at.iter().flatten().count());
            let view = ids.view();
            for (position, id) in self.at.iter().enumerate() {
                assert_eq!(ids.id(position).map(|id| id.0), *id, "position {position}");
                assert_eq!(view.names.id(position).map(|id| id.0), *id, "position {position}");
                assert_eq!(view.alive().is_none_or(|alive| alive[position]), id.is_some());
            }
            assert_eq!(view.alive().map_or(ids.len(), Alive::count), ids.len());
            assert_eq!(ids.id(self.at.len()), None);
            for id in 0..self.next + 3 {
                let expected = self.at.iter().position(|at| *at == Some(id));
                assert_eq!(ids.position(PatternId(id)), expected, "id {id}");
            }
        }
    }

    /// Removals, additions, relocations and snapshots at random, over several pages.
    #[test]
    fn any_sequence_of_changes_is_what_plain_tables_make_of_it() {
        let mut state = 7u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % below
        };
        for first in [3, 5, PAGE - 1, PAGE + 5, 2 * PAGE + 10] {
            let (mut ids, snapshots, mut plain) = (Ids::default(), Snapshots::default(), Plain::default());
            let mut snapshot = None;
            let mut old = Vec::new();
            for round in 0..150 {
                if snapshot.is_none() {
                    plain.free.extend(plain.held.drain(..));
                }
                match random(5) {
                    _ if round == 0 => {
                        let places = ids.places(first, &snapshots);
                        ids.add(&places);
                        plain.at.extend((0..first as u64).map(Some));
                        plain.next = first as u64;
                    }
                    0 => {
                        let rows = random(9);
                        let places = ids.places(rows, &snapshots);
                        let freed: Vec<usize> = plain.free.iter().copied().take(rows).collect();
                        assert_eq!(places, Places { fresh: rows - freed.len(), freed: freed.clone() });
                        assert_eq!(ids.fresh(rows, &snapshots), places.fresh);
                        let added = ids.add(&places);
                        assert_eq!(added, PatternIds::new(plain.next..plain.next + rows as u64));
                        for i in 0..rows {
                            match freed.get(i) {
                                Some(position) => plain.at[*position] = Some(plain.next),
                                None => plain.at.push(Some(plain.next)),
                            }
                            plain.next += 1;
                        }
                        for position in &freed {
                            assert!(plain.free.remove(position));
                        }
                    }
                    1 | 2 => {
                        let position = random(plain.at.len());
                        if let Some(id) = plain.at[position].take() {
                            assert_eq!(ids.remove(PatternId(id), &snapshots), Some(position));
                            match snapshot {
                                Some(_) => plain.held.push(position),
                                None => assert!(plain.free.insert(position)),
                            }
                        }
                    }
                    3 => {
                        let from = random(plain.at.len());
                        if let Some(id) = plain.at[from] {
                            let places = ids.places(1, &snapshots);
                            let to = plain.free.pop_first().unwrap_or(plain.at.len());
                            ids.relocate(PatternId(id), &places, &snapshots);
                            plain.at.resize(plain.at.len().max(to + 1), None);
                            plain.at[from] = None;
                            plain.at[to] = Some(id);
                            match snapshot {
                                Some(_) => plain.held.push(from),
                                None => assert!(plain.free.insert(from)),
                            }
                        }
                    }
                    _ => {
                        if snapshot.take().is_none() {
                            snapshot = Some(snapshots.take());
                        }
                    }
                }
                if round % 10 == 0 {
                    plain.check(&ids);
                    old.push((ids.view().names, plain.at.clone()));
                }
            }
            plain.check(&ids);
            plain.check(&ids.settled());
            for (names, at) in old {
                assert!(names.id(at.len()).is_none());
                assert!(at.iter().enumerate().all(|(position, id)| names.id(position).map(|id| id.0) == *id));
            }
        }
    }

    #[test]
    fn a_generation_ends_where_a_position_comes_to_mean_another_pattern() {
        let (mut ids, none) = (Ids::default(), Snapshots::default());
        add(&mut ids, 3);
        let first = ids.generation();
        ids.remove(PatternId(1), &none);
        assert_eq!(ids.generation(), first, "no position means another pattern");
        add(&mut ids, 1);
        let second = ids.generation();
        assert_ne!(second, first);
        add(&mut ids, 1);
        assert_eq!((ids.generation(), ids.settled().generation()), (second, second));
        ids.clear();
        assert!(![first, second].contains(&ids.generation()));
        assert_ne!(Ids::default().generation(), Ids::default().generation());
    }

    /// Ten million patterns: what a removal costs does not depend on them.
    #[test]
    fn the_first_removal_takes_no_table() {
        let (mut ids, none) = (Ids::default(), Snapshots::default());
        add(&mut ids, 10_000_000);
        let begin = std::time::Instant::now();
        ids.remove(PatternId(9_999_999), &none);
        let first = begin.elapsed();
        // 250 ms at a tenth of these patterns, where every id was entered in a table.
        assert!(first.as_micros() < 5000, "{first:?}");
        let begin = std::time::Instant::now();
        for id in 0..9_999_999 {
            ids.remove(PatternId(id), &none).unwrap();
        }
        let all = begin.elapsed();
        println!("first removal {first:?}, all of 10,000,000 {all:?}");
        assert!(ids.len() == 0 && all.as_secs() < 20, "{all:?}");
        let places = ids.places(usize::MAX, &none);
        assert_eq!((places.freed.len(), places.fresh), (10_000_000, usize::MAX - 10_000_000));
    }

    #[cfg(feature = "files")]
    #[test]
    fn ids_are_made_again_from_what_they_say() {
        let restored = |ids: &Ids| {
            let table = (0..ids.positions()).map(|position| ids.id(position).map(|id| id.0));
            match ids.has_table() {
                true => Ids::from_table(ids.next(), table.collect::<Vec<_>>().into_iter()).unwrap(),
                false => Ids::consecutive(ids.next(), ids.positions()).unwrap(),
            }
        };
        let (mut ids, none) = (Ids::default(), Snapshots::default());
        add(&mut ids, 4);
        ids.clear();
        add(&mut ids, 5);
        // Removed, and how many are added then.
        for (removed, added) in
            [(None, 0), (Some(6), 0), (Some(8), 0), (None, 1), (Some(4), 4), (Some(7), 0), (None, 9)]
        {
            if let Some(id) = removed {
                ids.remove(PatternId(id), &none).unwrap();
            }
            add(&mut ids, added);
            let mut again = restored(&ids);
            assert_eq!((again.len(), flags(&again)), (ids.len(), flags(&ids)));
            for position in 0..=ids.positions() {
                assert_eq!(again.id(position), ids.id(position));
            }
            for id in 0..ids.next() + 2 {
                assert_eq!(again.position(PatternId(id)), ids.position(PatternId(id)));
            }
            assert_eq!(add(&mut again, 1), add(&mut restored(&ids), 1));
            assert_eq!(again.names, restored(&again).names);
        }
        // Nothing but removed positions first, and nothing else.
        let table = [None, None, Some(7), None, Some(9), Some(2)];
        let mut few = Ids::from_table(12, table.into_iter()).unwrap();
        assert_eq!([7, 9, 2].map(|id| few.position(PatternId(id))), [Some(2), Some(4), Some(5)]);
        assert_eq!([0, 5, 6, 8, 10, 12].map(|id| few.position(PatternId(id))), [None; 6]);
        assert_eq!(few.places(4, &none), Places { freed: vec![0, 1, 3], fresh: 1 });
        let mut gone = Ids::from_table(12, [None, None].into_iter()).unwrap();
        assert_eq!((gone.len(), gone.id(0), gone.position(PatternId(0))), (0, None, None));
        assert_eq!(add(&mut gone, 3).0, PatternIds::new(12..15));
        assert_eq!([12, 13, 14].map(|id| gone.position(PatternId(id))), [Some(0), Some(1), Some(2)]);

        assert!(Ids::consecutive(3, 4).is_none());
        assert!(Ids::from_table(9, [Some(1), None, Some(1)].into_iter()).unwrap_err().contains("0 and 2 both"));
        assert!(Ids::from_table(9, [Some(3), Some(1), Some(1)].into_iter()).unwrap_err().contains("1 and 2 both"));
        assert!(Ids::from_table(9, [Some(9)].into_iter()).unwrap_err().contains("next to be given is 9"));
    }
}
