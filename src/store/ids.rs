//! Which pattern is at which position. Positions are rows of the windows; an id names a pattern for as long as it is
//! stored and is never used again. As long as nothing has been removed the two differ by a constant and no table is kept.

use std::collections::{BTreeSet, HashMap};

use super::{PatternId, PatternIds};

/// The ids of a memory.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// The id of position 0 while there is no table.
    base: u64,
    /// The next id to give.
    next: u64,
    /// Positions in use, removed ones included.
    positions: usize,
    table: Option<Table>,
}

/// What is kept once a pattern has been removed.
#[derive(Debug)]
struct Table {
    id_of: Vec<u64>,
    position_of: HashMap<u64, usize>,
    alive: Vec<bool>,
    /// Positions of removed patterns, to be filled again.
    free: BTreeSet<usize>,
}

/// Where the rows of one `add` go: first into positions that were freed, in order, then behind all others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub freed: Vec<usize>,
    pub fresh: usize,
}

impl Ids {
    /// Patterns that are stored.
    pub fn len(&self) -> usize {
        self.positions - self.table.as_ref().map_or(0, |table| table.free.len())
    }

    /// Positions in use, removed ones included.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// For every position whether a pattern is there; absent where none is missing.
    pub fn alive(&self) -> Option<&[bool]> {
        self.table.as_ref().filter(|table| !table.free.is_empty()).map(|table| table.alive.as_slice())
    }

    /// Where `rows` new patterns would go.
    pub fn places(&self, rows: usize) -> Places {
        let freed: Vec<usize> = match &self.table {
            Some(table) => table.free.iter().copied().take(rows).collect(),
            None => Vec::new(),
        };
        Places { fresh: rows - freed.len(), freed }
    }

    /// Gives ids to new patterns at `places`.
    pub fn add(&mut self, places: &Places) -> PatternIds {
        let rows = places.freed.len() + places.fresh;
        let range = self.next..self.next + rows as u64;
        if let Some(table) = &mut self.table {
            let fresh = self.positions..self.positions + places.fresh;
            table.id_of.resize(fresh.end, 0);
            table.alive.resize(fresh.end, false);
            for (id, position) in range.clone().zip(places.freed.iter().copied().chain(fresh)) {
                table.free.remove(&position);
                table.id_of[position] = id;
                table.alive[position] = true;
                table.position_of.insert(id, position);
            }
        } else if self.positions == 0 {
            self.base = self.next;
        }
        self.positions += places.fresh;
        self.next = range.end;
        PatternIds { range }
    }

    /// Where the pattern `id` is.
    pub fn position(&self, id: PatternId) -> Option<usize> {
        match &self.table {
            Some(table) => table.position_of.get(&id.0).copied(),
            None => id.0.checked_sub(self.base).map(|at| at as usize).filter(|at| *at < self.positions),
        }
    }

    /// Which pattern is at `position`.
    pub fn id(&self, position: usize) -> Option<PatternId> {
        match &self.table {
            Some(table) => {
                table.alive.get(position).copied().unwrap_or(false).then(|| PatternId(table.id_of[position]))
            }
            None => (position < self.positions).then(|| PatternId(self.base + position as u64)),
        }
    }

    /// Frees the position of `id`.
    pub fn remove(&mut self, id: PatternId) -> Option<usize> {
        let position = self.position(id)?;
        let (base, positions) = (self.base, self.positions);
        let table = self.table.get_or_insert_with(|| Table {
            id_of: (base..base + positions as u64).collect(),
            position_of: (base..base + positions as u64).zip(0..positions).collect(),
            alive: vec![true; positions],
            free: BTreeSet::new(),
        });
        table.position_of.remove(&id.0);
        table.alive[position] = false;
        table.free.insert(position);
        Some(position)
    }

    /// Forgets every pattern, but not which ids were given.
    pub fn clear(&mut self) {
        *self = Self { next: self.next, base: self.next, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(ids: &mut Ids, rows: usize) -> (PatternIds, Places) {
        let places = ids.places(rows);
        (ids.add(&places), places)
    }

    #[test]
    fn ids_stay_and_positions_are_filled_again() {
        let mut ids = Ids::default();
        assert_eq!(add(&mut ids, 5).0, PatternIds { range: 0..5 });
        assert_eq!(ids.alive(), None);
        assert_eq!((ids.remove(PatternId(3)), ids.remove(PatternId(1))), (Some(3), Some(1)));
        assert_eq!(ids.remove(PatternId(1)), None, "it is gone");
        assert_eq!((ids.len(), ids.positions()), (3, 5));
        assert_eq!(ids.alive(), Some(&[true, false, true, false, true][..]));
        let (added, places) = add(&mut ids, 3);
        assert_eq!(added, PatternIds { range: 5..8 });
        assert_eq!(places, Places { freed: vec![1, 3], fresh: 1 });
        assert_eq!(ids.alive(), None);
        assert_eq!([5, 6, 7, 4].map(|id| ids.position(PatternId(id))), [Some(1), Some(3), Some(5), Some(4)]);
        assert_eq!((ids.position(PatternId(1)), ids.id(1)), (None, Some(PatternId(5))));
    }

    #[test]
    fn clear_gives_no_id_twice() {
        let mut ids = Ids::default();
        add(&mut ids, 4);
        ids.remove(PatternId(0));
        ids.clear();
        assert_eq!((ids.len(), ids.position(PatternId(2)), ids.id(0)), (0, None, None));
        assert_eq!(add(&mut ids, 2).0, PatternIds { range: 4..6 });
        assert_eq!((ids.id(0), ids.position(PatternId(5))), (Some(PatternId(4)), Some(1)));
    }
}
