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
    ids.relocate(PatternId(3), moved.freed.first().copied(), &snapshots);
    assert_eq!((ids.position(PatternId(3)), ids.id(0), ids.id(3)), (Some(0), Some(PatternId(3)), None));
    let moved = ids.places(1, &snapshots);
    ids.relocate(PatternId(2), moved.freed.first().copied(), &snapshots);
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
                        ids.relocate(PatternId(id), places.freed.first().copied(), &snapshots);
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
    for (removed, added) in [(None, 0), (Some(6), 0), (Some(8), 0), (None, 1), (Some(4), 4), (Some(7), 0), (None, 9)] {
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
        let asked: Vec<_> = (0..ids.next() + 2).map(|id| (id % 5 != 2).then_some(PatternId(id))).collect();
        let positions: Vec<_> = asked.iter().map(|id| id.and_then(|id| ids.position(id))).collect();
        assert_eq!(ids.view().names.positions_of(&asked), positions);
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
