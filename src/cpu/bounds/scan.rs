//! One scan of the 8-bit rows: for each query the patterns that the bounds of their scores do not rule out.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::bounds::interval::{Bounds, Uppers};
use crate::cpu::bounds::levels::{LevelRows, Levels};
use crate::cpu::bounds::list::{Bounded, BoundedList};
use crate::cpu::bounds::query::LevelQuery;
use crate::cpu::pack::Query;
use crate::cpu::plan::Plan;
use crate::cpu::simd::int8::Kernel;
use crate::cpu::tiles::{PatternView, TILE, split};
use crate::exact::separation;
use crate::exact::solved::Solved;
use crate::precision::Precision;
use crate::rule::Separation;

/// Queries that are scanned together, at most: more are faster by products of `f32`.
const MAX_QUERIES: usize = 8;
/// Patterns whose bounds give all splits a floor to start from.
const SAMPLE: usize = 1024;
/// The least room of a list.
const MIN_ENTRIES: usize = 1024;
/// Of so many patterns one may be listed: scoring more of them again takes longer than a scan of `f32` rows.
const PATTERNS_PER_ENTRY: usize = 16;

/// A query of the scan.
struct Scanned<'a> {
    query: &'a Query,
    integers: LevelQuery,
    bounds: Bounds,
}

/// Consecutive patterns of one window, in 8 bits.
struct LevelTile<'a> {
    /// The position of its first pattern.
    first: usize,
    rows: LevelRows<'a>,
    norms: &'a [f64],
    bias: &'a [f32],
}

impl PatternView<'_> {
    /// Visits the tiles of 8-bit rows of `range`, in order.
    fn level_tiles(&self, range: &Range<usize>, mut visit: impl FnMut(&LevelTile<'_>)) {
        for window in self.engine.windows.filled() {
            let Some(levels) = &window.storage.levels else { continue };
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            for start in (from..to).step_by(TILE) {
                let count = TILE.min(to - start);
                let (norms, bias) = (&window.storage.norms, &window.storage.bias);
                visit(&LevelTile {
                    first: window.first + start,
                    rows: levels.rows(start, count),
                    norms: &norms[start..start + count],
                    bias: &bias[start..start + count],
                });
            }
        }
    }
}

impl Plan<'_> {
    /// Whether a scan of 8-bit rows answers queries of this rule.
    fn has_bounds(&self, batch: usize) -> bool {
        let engine = self.view.engine;
        engine.layout.precision == Precision::I8Exact
            && Levels::bound(engine.rule.similarity)
            && !matches!(self.separation, Separation::Softmax | Separation::Softmax1)
            && batch <= MAX_QUERIES
            && self.keep(0.0).largest <= self.bounded_entries() / 2
            && (self.top == 0 || self.lists_top())
    }

    /// Entries of one list, at most.
    fn bounded_entries(&self) -> usize {
        (self.view.range.len() / PATTERNS_PER_ENTRY).max(MIN_ENTRIES).min(self.list_entries)
    }

    /// For each query the positions of every pattern that can have weight or be reported, by rising position; `None`
    /// where they are too many, or where no scan of 8-bit rows answers the rule.
    pub(in crate::cpu) fn bounded(&self, queries: &[&Query]) -> Vec<Option<Vec<usize>>> {
        let mut found: Vec<Option<Vec<usize>>> = queries.iter().map(|_| None).collect();
        if !self.has_bounds(queries.len()) {
            return found;
        }
        let engine = self.view.engine;
        let (mut scanned, mut places) = (Vec::new(), Vec::new());
        for (place, query) in queries.iter().enumerate() {
            if let Some(integers) = LevelQuery::new(engine.rule.similarity, query, engine.layout.dim) {
                scanned.push(Scanned { query, bounds: Bounds::new(&engine.rule, &integers), integers });
                places.push(place);
            }
        }
        if scanned.is_empty() {
            return found;
        }
        for (place, list) in places.into_iter().zip(self.bounded_lists(&scanned)) {
            found[place] = (!list.overflow).then(|| {
                let mut positions: Vec<usize> = self.settled(list).iter().map(|one| one.index).collect();
                positions.sort_unstable();
                positions
            });
        }
        found
    }

    /// The list of each query over all patterns.
    fn bounded_lists(&self, queries: &[Scanned<'_>]) -> Vec<BoundedList> {
        let range = &self.view.range;
        let sample = range.start..range.end.min(range.start + SAMPLE);
        let rest = sample.end..range.end;
        let limit = self.bounded_entries();
        let mut lists: Vec<BoundedList> = queries.iter().map(|_| BoundedList::new(self.keep(0.0), limit)).collect();
        self.scan_levels(queries, &sample, &mut lists);
        for list in &mut lists {
            list.prune();
            // As many of the others would overflow the list.
            let expected = list.entries.len() * range.len() / sample.len().max(1);
            if self.keep(0.0).width.is_some() && !rest.is_empty() && expected > 4 * limit {
                list.overflow = true;
            }
        }
        if rest.is_empty() || lists.iter().all(|list| list.overflow) {
            return lists;
        }
        let begun = &lists;
        let splits: Vec<Vec<BoundedList>> = split(&rest, self.splits)
            .into_par_iter()
            .map(|range| {
                let mut lists: Vec<BoundedList> = begun.iter().map(BoundedList::continued).collect();
                lists.iter_mut().zip(begun).for_each(|(list, begun)| list.overflow = begun.overflow);
                self.scan_levels(queries, &range, &mut lists);
                lists
            })
            .collect();
        for split in splits {
            lists.iter_mut().zip(split).for_each(|(list, other)| list.merge(other));
        }
        lists
    }

    /// Pushes the patterns of `range` to the list of each query.
    fn scan_levels(&self, queries: &[Scanned<'_>], range: &Range<usize>, lists: &mut [BoundedList]) {
        let (kernel, usable) = (Kernel::best(), self.view.usable);
        let (mut sums, mut uppers) = ([0i32; TILE], [0.0f64; TILE]);
        self.view.level_tiles(range, |tile| {
            let LevelTile { first, rows, norms, bias } = *tile;
            let count = bias.len();
            let (sums, uppers) = (&mut sums[..count], &mut uppers[..count]);
            for (one, list) in queries.iter().zip(&mut *lists) {
                if list.overflow {
                    continue;
                }
                kernel.products(&one.integers.integers, rows.levels, sums);
                self.level.run(Uppers { bounds: &one.bounds, sums, rows, norms, bias, uppers });
                for (t, upper) in uppers.iter().enumerate() {
                    // A bound that is not a number rules nothing out.
                    if *upper < list.floor() || !usable.keeps(one.query.position, first + t) {
                        continue;
                    }
                    list.push(one.bounds.of_row(sums[t], &rows, norms, bias, t), first + t);
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
