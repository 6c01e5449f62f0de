//! One scan of the 8-bit rows: for each query the patterns that the bounds of their scores do not rule out.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::bounds::interval::{Bounds, BoundsPanel, Reaching, Uppers};
use crate::cpu::bounds::levels::LevelRows;
use crate::cpu::bounds::list::{Bounded, BoundedList};
use crate::cpu::bounds::query::LevelQuery;
use crate::cpu::pack::Query;
use crate::cpu::plan::Plan;
use crate::cpu::simd::int8::Kernel;
use crate::cpu::simd::int8_panel::{self, Panel};
use crate::cpu::tiles::{NO_BIAS, PatternView, TILE, split};
use crate::cpu::usable::Flags;
use crate::exact::separation;
use crate::exact::solved::Solved;
use crate::rule::Separation;

/// Queries that are multiplied one after the other, at most.
const FEW_QUERIES: usize = 8;
/// Patterns whose bounds give all splits a floor to start from.
const SAMPLE: usize = 1024;
/// The least room of a list.
const MIN_ENTRIES: usize = 1024;
/// Of so many patterns one may be listed, until the threshold of the lower bounds rules out most.
const PATTERNS_PER_ENTRY: usize = 4;
/// Of so many patterns one may be left: scoring more of them again takes longer than a scan of `f32` rows.
const PATTERNS_PER_RESCORED: usize = 16;

/// A query of the scan.
struct Scanned<'a> {
    query: &'a Query,
    integers: LevelQuery,
    bounds: Bounds,
}

/// The queries of one scan, and where they are many, their panel.
struct Block<'a> {
    queries: Vec<Scanned<'a>>,
    panel: Option<(Panel, BoundsPanel)>,
}

impl<'a> Block<'a> {
    fn new(queries: Vec<Scanned<'a>>) -> Self {
        // A panel has one beta.
        let same = queries.iter().all(|one| one.query.beta == queries[0].query.beta);
        let panel = (queries.len() > FEW_QUERIES && same).then(|| {
            let integers: Vec<&[i16]> = queries.iter().map(|one| &one.integers.integers[..]).collect();
            let bounds: Vec<&Bounds> = queries.iter().map(|one| &one.bounds).collect();
            (Panel::new(&integers), BoundsPanel::new(&bounds))
        });
        Self { queries, panel }
    }
}

/// Consecutive patterns of one window, in 8 bits, of which a query may use some.
struct LevelTile<'a> {
    /// The position of its first pattern.
    first: usize,
    rows: LevelRows<'a>,
    norms: &'a [f64],
    bias: &'a [f32],
    /// Which of its patterns queries may use: see [`Usable::flags`](crate::cpu::usable::Usable::flags).
    flags: &'a [Flags],
}

impl LevelTile<'_> {
    /// Which of its patterns query number `query` may use.
    fn usable(&self, query: usize) -> Flags {
        self.flags.get(query).or(self.flags.first()).copied().unwrap_or(Flags::MAX)
    }
}

impl PatternView<'_> {
    /// Visits the tiles of 8-bit rows of `range`, in order, except those that none of `queries` may use.
    fn level_tiles(&self, queries: &[&Query], range: &Range<usize>, mut visit: impl FnMut(&LevelTile<'_>)) {
        let mut flags = Vec::new();
        for window in self.engine.windows.filled() {
            let Some(levels) = &window.storage.levels else { continue };
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            for start in (from..to).step_by(TILE) {
                let count = TILE.min(to - start);
                if self.usable.flags(queries, window.first + start, count, &mut flags) == 0 {
                    continue;
                }
                let (norms, bias) = (&window.storage.norms, &window.storage.bias);
                visit(&LevelTile {
                    first: window.first + start,
                    rows: levels.rows(start, count),
                    norms: &norms[start..start + count],
                    bias: if self.biased { &bias[start..start + count] } else { &NO_BIAS[..count] },
                    flags: &flags,
                });
            }
        }
    }
}

impl Plan<'_> {
    /// Whether a scan of 8-bit rows answers queries of this rule.
    fn has_bounds(&self) -> bool {
        let engine = self.view.engine;
        engine.layout.keeps_levels(engine.rule.similarity)
            && match self.separation {
                Separation::Softmax | Separation::Softmax1 => false,
                Separation::Step { .. } => true,
                separation => separation.is_normalized() && self.keep(0.0).largest <= self.most_rescored() / 2,
            }
            && (self.top == 0 || self.lists_top())
    }

    /// Entries of one list, at most.
    fn bounded_entries(&self) -> usize {
        (self.view.range.len() / PATTERNS_PER_ENTRY).max(MIN_ENTRIES).min(self.list_entries)
    }

    /// Patterns that are scored again for one query, at most.
    fn most_rescored(&self) -> usize {
        (self.view.range.len() / PATTERNS_PER_RESCORED).max(MIN_ENTRIES).min(self.list_entries)
    }

    /// For each query the positions of every pattern that can have weight or be reported, by rising position; `None`
    /// where they are too many, or where no scan of 8-bit rows answers the rule as fast as one of `f32` rows.
    pub(in crate::cpu) fn bounded(&self, queries: &[&Query]) -> Vec<Option<Vec<usize>>> {
        let mut found: Vec<Option<Vec<usize>>> = queries.iter().map(|_| None).collect();
        let few = queries.len() <= FEW_QUERIES;
        if !self.has_bounds() || !few && !int8_panel::is_fast() {
            return found;
        }
        let blocks = found.par_chunks_mut(int8_panel::WIDTH).zip(queries.par_chunks(int8_panel::WIDTH));
        blocks.for_each(|(found, queries)| self.bound_block(queries, found));
        found
    }

    /// [`Plan::bounded`] for the queries of one panel.
    fn bound_block(&self, queries: &[&Query], found: &mut [Option<Vec<usize>>]) {
        let engine = self.view.engine;
        let (mut scanned, mut places) = (Vec::new(), Vec::new());
        for (query, place) in queries.iter().zip(found) {
            if let Some(integers) = LevelQuery::new(engine.rule.similarity, query, engine.layout.dim) {
                scanned.push(Scanned {
                    query,
                    bounds: Bounds::new(engine.rule.similarity, query.beta, &integers),
                    integers,
                });
                places.push(place);
            }
        }
        if scanned.is_empty() {
            return;
        }
        let lists = self.bounded_lists(&Block::new(scanned));
        places.into_par_iter().zip(lists).filter(|(_, list)| !list.overflow).for_each(|(place, list)| {
            let mut positions: Vec<usize> = self.settled(list).iter().map(|one| one.index).collect();
            // Where nothing passes a step, whether anything could has to be seen.
            let passed = !positions.is_empty() || self.separation.is_normalized();
            if passed && positions.len() <= self.most_rescored() {
                positions.sort_unstable();
                *place = Some(positions);
            }
        });
    }

    /// The list of each query over all patterns. The first patterns give floors to the splits of further ones, and
    /// those to the rest, so that little is listed in vain.
    fn bounded_lists(&self, block: &Block<'_>) -> Vec<BoundedList> {
        let (range, limit) = (&self.view.range, self.bounded_entries());
        let new = |one: &Scanned<'_>| BoundedList::new(self.keep_for(one.query, 0.0), limit);
        let mut lists: Vec<BoundedList> = block.queries.iter().map(new).collect();
        let mut from = range.start;
        for patterns in [SAMPLE, range.len() / PATTERNS_PER_RESCORED, range.len()] {
            let to = range.end.min(range.start + patterns.next_multiple_of(TILE));
            if to <= from || lists.iter().all(|list| list.overflow) {
                continue;
            }
            if from == range.start {
                self.scan_levels(block, &(from..to), &mut lists);
            } else {
                let begun = &lists;
                let splits: Vec<Vec<BoundedList>> = split(&(from..to), self.splits)
                    .into_par_iter()
                    .map(|range| {
                        let mut lists: Vec<BoundedList> = begun.iter().map(BoundedList::continued).collect();
                        self.scan_levels(block, &range, &mut lists);
                        lists
                    })
                    .collect();
                for split in splits {
                    lists.iter_mut().zip(split).for_each(|(list, other)| list.merge(other));
                }
            }
            from = to;
            for list in &mut lists {
                list.prune();
                // As many of the others would overflow the list.
                let expected = list.entries.len().saturating_mul(range.len()) / (to - range.start);
                if list.is_wide() && to < range.end && expected > 2 * limit {
                    list.give_up();
                }
            }
        }
        lists
    }

    /// Pushes the patterns of `range` to the list of each query.
    fn scan_levels(&self, block: &Block<'_>, range: &Range<usize>, lists: &mut [BoundedList]) {
        match &block.panel {
            Some((panel, bounds)) => self.scan_panel(&block.queries, panel, bounds, range, lists),
            None => self.scan_rows(&block.queries, range, lists),
        }
    }

    /// [`Plan::scan_levels`], one query after the other.
    fn scan_rows(&self, queries: &[Scanned<'_>], range: &Range<usize>, lists: &mut [BoundedList]) {
        let kernel = Kernel::best();
        let (mut sums, mut uppers) = ([0i32; TILE], [0.0f64; TILE]);
        let asked: Vec<&Query> = queries.iter().map(|one| one.query).collect();
        self.view.level_tiles(&asked, range, |tile| {
            let LevelTile { first, rows, norms, bias, .. } = *tile;
            let count = bias.len();
            let (sums, uppers) = (&mut sums[..count], &mut uppers[..count]);
            for (q, (one, list)) in queries.iter().zip(&mut *lists).enumerate() {
                let usable = tile.usable(q);
                if usable == 0 {
                    continue;
                }
                kernel.products(&one.integers.integers, rows.levels, sums);
                self.level.run(Uppers { bounds: &one.bounds, sums, rows, norms, bias, uppers });
                for (t, upper) in uppers.iter().enumerate() {
                    // A bound that is not a number rules nothing out.
                    if *upper < list.floor() || usable >> t & 1 == 0 {
                        continue;
                    }
                    list.push(one.bounds.of_row(sums[t], &rows, norms, bias, t), first + t);
                }
            }
        });
    }

    /// [`Plan::scan_levels`], every row read once for all queries.
    fn scan_panel(
        &self,
        queries: &[Scanned<'_>],
        panel: &Panel,
        bounds: &BoundsPanel,
        range: &Range<usize>,
        lists: &mut [BoundedList],
    ) {
        let asked: Vec<&Query> = queries.iter().map(|one| one.query).collect();
        let mut sums = vec![0i32; panel.sums(TILE)];
        let (mut floors, mut reached) = (vec![f64::INFINITY; panel.width], Vec::new());
        self.view.level_tiles(&asked, range, |tile| {
            let LevelTile { first, rows, norms, bias, .. } = *tile;
            panel.products(rows.levels, &mut sums);
            floors.iter_mut().zip(&*lists).for_each(|(floor, list)| *floor = list.floor());
            let (floors, reached) = (&floors, &mut reached);
            self.level.run(Reaching { panel: bounds, sums: &sums, rows, norms, bias, floors, reached });
            for (t, state) in reached.drain(..) {
                let sums = &sums[t * panel.width + state..];
                let queries = queries.iter().zip(&mut *lists).enumerate().skip(state);
                for ((q, (one, list)), sum) in queries.zip(sums).take(int8_panel::LANES) {
                    let (lower, upper) = one.bounds.of_row(*sum, &rows, norms, bias, t);
                    if upper < list.floor() || tile.usable(q) >> t & 1 == 0 {
                        continue;
                    }
                    list.push((lower, upper), first + t);
                }
            }
        });
    }

    /// The entries of a list that may still have weight or be reported.
    fn settled(&self, mut list: BoundedList) -> Vec<Bounded> {
        list.prune();
        let mut entries = list.entries;
        if separation::alpha(self.separation).is_none() {
            return entries;
        }
        // A threshold rises with every score, and so is at least that of the lower bounds.
        let mut lowers: Vec<_> = entries.iter().map(|one| (one.lower, one.index)).collect();
        lowers.retain(|entry| entry.0 > f64::NEG_INFINITY);
        if let Solved::Entmax { threshold, .. } = separation::solve(self.separation, &mut lowers) {
            let reported = match self.lists_top() {
                true => self.nth_lower(&mut entries),
                false => f64::INFINITY,
            };
            let gain = threshold.alpha() - 1.0;
            entries.retain(|one| {
                // With room for the rounding of the threshold itself.
                let room = 1e-9 + 16.0 * f64::EPSILON * gain * one.upper.abs();
                threshold.gap(one.upper) > -room || one.upper >= reported
            });
        }
        entries
    }

    /// The lower bound that as many entries as are reported reach.
    fn nth_lower(&self, entries: &mut [Bounded]) -> f64 {
        if entries.len() < self.top {
            return f64::NEG_INFINITY;
        }
        entries.select_nth_unstable_by(self.top - 1, |a, b| b.lower.total_cmp(&a.lower)).1.lower
    }
}
