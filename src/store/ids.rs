//! Which pattern is at which position. Positions are rows of the windows; an id names a pattern for as long as it is
//! stored and is never used again. As long as nothing has been removed the two differ by a constant and no table is kept.

use std::collections::{BTreeMap, HashMap};

use super::{PatternId, PatternIds, Snapshots};

/// The ids of a memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    /// The id of position 0 while there is no table.
    base: u64,
    /// The next id to give.
    next: u64,
    /// Positions in use, removed ones included.
    positions: usize,
    table: Option<Box<Table>>,
}

/// What is kept once a pattern has been removed.
#[derive(Clone, Debug)]
struct Table {
    id_of: Vec<u64>,
    position_of: HashMap<u64, usize>,
    alive: Vec<bool>,
    /// Positions of removed patterns, to be filled again, and when each was freed.
    free: BTreeMap<usize, u64>,
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

    /// Where `rows` new patterns would go: not to positions that a snapshot sees.
    pub fn places(&self, rows: usize, snapshots: &Snapshots) -> Places {
        let oldest = snapshots.oldest();
        let unseen = |(position, freed): (&usize, &u64)| (*freed <= oldest).then_some(*position);
        let freed: Vec<usize> = match &self.table {
            Some(table) => table.free.iter().filter_map(unseen).take(rows).collect(),
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

    /// The table, made now if there is none.
    fn table(&mut self) -> &mut Table {
        let (base, positions) = (self.base, self.positions);
        self.table.get_or_insert_with(|| {
            Box::new(Table {
                id_of: (base..base + positions as u64).collect(),
                position_of: (base..base + positions as u64).zip(0..positions).collect(),
                alive: vec![true; positions],
                free: BTreeMap::new(),
            })
        })
    }

    /// Frees the position of `id`, at the time `now`.
    pub fn remove(&mut self, id: PatternId, now: u64) -> Option<usize> {
        let position = self.position(id)?;
        let table = self.table();
        table.position_of.remove(&id.0);
        table.alive[position] = false;
        table.free.insert(position, now);
        Some(position)
    }

    /// Moves `id` to one new place, and frees its position at the time `now`.
    pub fn relocate(&mut self, id: PatternId, places: &Places, now: u64) {
        let to = places.freed.first().copied().unwrap_or(self.positions);
        if self.remove(id, now).is_none() {
            return;
        }
        self.positions += places.fresh;
        let positions = self.positions;
        let table = self.table();
        table.id_of.resize(positions, 0);
        table.alive.resize(positions, false);
        table.free.remove(&to);
        table.id_of[to] = id.0;
        table.alive[to] = true;
        table.position_of.insert(id.0, to);
    }

    /// The same, of a memory that no snapshot sees.
    pub fn settled(&self) -> Self {
        let mut ids = self.clone();
        if let Some(table) = &mut ids.table {
            table.free.values_mut().for_each(|freed| *freed = 0);
        }
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
        self.table.is_some()
    }

    /// The ids of `positions` positions in use, of which the last were given last: what there is without a table.
    #[cfg(feature = "files")]
    pub fn consecutive(next: u64, positions: usize) -> Option<Self> {
        let base = next.checked_sub(positions as u64)?;
        Some(Self { base, next, positions, table: None })
    }

    /// The ids of the patterns at each position, `None` where one was removed. Refuses, saying why, ids that are there
    /// twice or that are yet to be given.
    #[cfg(feature = "files")]
    pub fn from_table(next: u64, table: impl ExactSizeIterator<Item = Option<u64>>) -> Result<Self, String> {
        let positions = table.len();
        let mut ids = Vec::with_capacity(positions);
        let mut alive = Vec::with_capacity(positions);
        let mut position_of = HashMap::with_capacity(positions);
        let mut free = BTreeMap::new();
        for (position, id) in table.enumerate() {
            match id {
                None => {
                    // Before any snapshot.
                    free.insert(position, 0);
                }
                Some(id) if id >= next => {
                    return Err(format!("position {position} has the id {id}, but the next to be given is {next}"));
                }
                Some(id) => {
                    if let Some(other) = position_of.insert(id, position) {
                        return Err(format!("positions {other} and {position} both have the id {id}"));
                    }
                }
            }
            ids.push(id.unwrap_or(0));
            alive.push(id.is_some());
        }
        let table = Table { id_of: ids, position_of, alive, free };
        Ok(Self { base: 0, next, positions, table: Some(Box::new(table)) })
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
        let places = ids.places(rows, &Snapshots::default());
        (ids.add(&places), places)
    }

    #[test]
    fn ids_stay_and_positions_are_filled_again() {
        let mut ids = Ids::default();
        assert_eq!(add(&mut ids, 5).0, PatternIds { range: 0..5 });
        assert_eq!(ids.alive(), None);
        assert_eq!((ids.remove(PatternId(3), 0), ids.remove(PatternId(1), 0)), (Some(3), Some(1)));
        assert_eq!(ids.remove(PatternId(1), 0), None, "it is gone");
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
    fn positions_that_a_snapshot_sees_are_left_alone() {
        let (mut ids, snapshots) = (Ids::default(), Snapshots::default());
        add(&mut ids, 4);
        ids.remove(PatternId(0), snapshots.now());
        let snapshot = snapshots.take();
        ids.remove(PatternId(1), snapshots.now());
        let places = ids.places(2, &snapshots);
        assert_eq!(places, Places { freed: vec![0], fresh: 1 }, "what was free before may be filled");
        let moved = ids.places(1, &snapshots);
        ids.relocate(PatternId(3), &moved, snapshots.now());
        assert_eq!((ids.position(PatternId(3)), ids.id(0), ids.id(3)), (Some(0), Some(PatternId(3)), None));
        let moved = ids.places(1, &snapshots);
        ids.relocate(PatternId(2), &moved, snapshots.now());
        assert_eq!((ids.position(PatternId(2)), ids.positions(), ids.len()), (Some(4), 5, 2));
        drop(snapshot);
        assert_eq!(ids.places(4, &snapshots), Places { freed: vec![1, 2, 3], fresh: 1 });
    }

    #[test]
    fn clear_gives_no_id_twice() {
        let mut ids = Ids::default();
        add(&mut ids, 4);
        ids.remove(PatternId(0), 0);
        ids.clear();
        assert_eq!((ids.len(), ids.position(PatternId(2)), ids.id(0)), (0, None, None));
        assert_eq!(add(&mut ids, 2).0, PatternIds { range: 4..6 });
        assert_eq!((ids.id(0), ids.position(PatternId(5))), (Some(PatternId(4)), Some(1)));
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
        let mut ids = Ids::default();
        add(&mut ids, 4);
        ids.clear();
        add(&mut ids, 5);
        for removed in [None, Some(6), Some(8)] {
            if let Some(id) = removed {
                ids.remove(PatternId(id), 0).unwrap();
            }
            let mut again = restored(&ids);
            assert_eq!((again.len(), again.alive()), (ids.len(), ids.alive()));
            for position in 0..6 {
                assert_eq!(again.id(position), ids.id(position));
            }
            for id in 0..10 {
                assert_eq!(again.position(PatternId(id)), ids.position(PatternId(id)));
            }
            assert_eq!(add(&mut again, 1), add(&mut restored(&ids), 1));
        }
        assert!(Ids::consecutive(3, 4).is_none());
        assert!(Ids::from_table(9, [Some(1), None, Some(1)].into_iter()).unwrap_err().contains("0 and 2 both"));
        assert!(Ids::from_table(9, [Some(9)].into_iter()).unwrap_err().contains("next to be given is 9"));
    }
}
