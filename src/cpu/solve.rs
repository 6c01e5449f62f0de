//! The separation solved for queries: by an online scan, from lists of candidates, or by exact passes; and the weighted
//! sums of rows that follow from it.

use rayon::prelude::*;

use crate::cpu::candidates::{Candidates, Keep};
use crate::cpu::merge::{Online, Scan};
use crate::cpu::pack::{Packed, Query};
use crate::cpu::plan::{MAX_EXACT_ENTRIES, MIN_QUERIES_FOR_TASKS, Method, Plan};
use crate::cpu::projection;
use crate::cpu::scan::{self, Into, Summed};
use crate::cpu::separation::streaming;
use crate::cpu::separation::unnormalized::Counting;
use crate::cpu::simd::level::vectorized;
use crate::cpu::tiles::split;
use crate::exact::entry::{Entry, preferred};
use crate::exact::solved::Solved;
use crate::exact::unnormalized::Unnormalized;
use crate::exact::{separation, softmax};
use crate::rule::Separation;

/// One separation of the scores of one query.
pub(super) struct Solution {
    pub solved: Solved,
    /// Every entry with weight, by rising index, where they are few enough to list.
    pub support: Option<Vec<Entry>>,
    /// The patterns of largest score in order of preference, as many as are reported, where they were listed.
    pub top: Option<Vec<Ranked>>,
    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows, where the scan computed them.
    pub sums: Option<(Vec<f64>, Vec<f64>)>,
}

/// A pattern that is reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    /// Its exact score, by which patterns are ordered, and its position.
    pub entry: Entry,
    /// The score that its weight follows from: the one that the solution was solved with.
    pub weighed: f64,
}

/// The first `k` of patterns, by exact scores.
fn best(mut ranked: Vec<Ranked>, k: usize) -> Vec<Ranked> {
    ranked.sort_unstable_by(|a, b| preferred(&a.entry, &b.entry));
    ranked.truncate(k);
    ranked
}

impl Plan<'_> {
    /// Solves the separation for each query, with the weighted sums where the scan computes them.
    pub fn scan(&self, queries: &[&Query], summed: Summed) -> Vec<Solution> {
        let bounded = self.bounded(queries).into_par_iter().zip(queries);
        let mut solutions: Vec<Option<Solution>> = bounded
            .map(|(positions, query)| positions.map(|positions| self.solve_bounded(query, &positions)))
            .collect();
        let (mut online, mut listed) = (Vec::new(), Vec::new());
        let open = queries.iter().enumerate().filter(|(number, _)| solutions[*number].is_none());
        for (number, query) in open {
            match self.method(query) {
                Method::Online => online.push(number),
                Method::Candidates => listed.push(number),
                Method::Exact => {}
            }
        }
        let blocks: Vec<&[usize]> = online.chunks(self.block).chain(listed.chunks(self.block)).collect();
        let scanned: Vec<Vec<Option<Solution>>> = blocks
            .par_iter()
            .map(|numbers| {
                let queries: Vec<&Query> = numbers.iter().map(|number| queries[*number]).collect();
                self.scan_block(&queries, summed, self.is_online(queries[0]))
            })
            .collect();
        for (number, one) in blocks.into_iter().flatten().zip(scanned.into_iter().flatten()) {
            solutions[*number] = one;
        }
        // A step that more patterns pass than lists have room for is summed as it is scanned.
        if let Separation::Step { .. } = self.separation {
            let dense: Vec<usize> = listed.iter().copied().filter(|number| solutions[*number].is_none()).collect();
            for numbers in dense.chunks(self.block) {
                let queries: Vec<&Query> = numbers.iter().map(|number| queries[*number]).collect();
                for (number, one) in numbers.iter().zip(self.scan_block(&queries, summed, true)) {
                    solutions[*number] = one;
                }
            }
        }
        // The others one after the other, each on every core: their lists may be long.
        for (query, one) in queries.iter().zip(&mut solutions) {
            if one.is_none() {
                *one = Some(self.solve_exactly(query));
            }
        }
        solutions.into_iter().map(|one| one.expect("every query is solved")).collect()
    }

    /// Scans for a block of queries that have the same method; `None` for those whose lists or sums overflow.
    fn scan_block(&self, queries: &[&Query], summed: Summed, online: bool) -> Vec<Option<Solution>> {
        let similarity = self.view.engine.rule.similarity;
        let block = Packed::new(self.form, similarity, self.level.lanes(), queries);
        let lists = |keep: &dyn Fn(&Query, f64) -> Keep| -> Vec<Candidates> {
            let margins = queries.iter().map(|query| (query, self.margin(query).unwrap_or(f64::INFINITY)));
            margins.map(|(query, margin)| Candidates::new(keep(query, margin), self.list_entries)).collect()
        };
        let into = || match online {
            true if self.lists_top() => {
                Into::Sums { summed, lists: lists(&|_, margin| Keep::largest(self.top, margin)) }
            }
            true => Into::Sums { summed, lists: Vec::new() },
            false => Into::Lists(lists(&|query, margin| self.keep_for(query, margin))),
        };
        let scan = |range| scan::scan(&self.view, self.level, &block, queries, &range, into());
        let ranges = split(&self.view.range, self.splits);
        let mut splits = if ranges.len() > 1 {
            ranges.into_par_iter().map(scan).collect::<Vec<_>>()
        } else {
            ranges.into_iter().map(scan).collect()
        }
        .into_iter();
        let mut merged = splits.next().unwrap_or_default();
        for split in splits {
            for (into, scan) in merged.iter_mut().zip(split) {
                into.merge(scan);
            }
        }
        let min = if matches!(merged.first(), Some(Scan::Online(_))) { MIN_QUERIES_FOR_TASKS } else { 1 };
        let settle = |(query, scan): (&&Query, Scan)| self.settle(query, scan);
        queries.par_iter().with_min_len(min).zip(merged).map(settle).collect()
    }

    /// The solution for one query from a scan of all patterns; `None` where its list or its sums have overflowed.
    fn settle(&self, query: &Query, scan: Scan) -> Option<Solution> {
        match scan {
            // Sums beyond the range of `f32` although the means are within it: `solve_exactly` computes them in `f64`.
            Scan::Online(online) if !online.is_finite() => None,
            Scan::Online(online) if self.vanishes(&online) => None,
            Scan::Online(online) => {
                let solved = match Unnormalized::of(&self.view.engine.rule, query.beta) {
                    Some(_) if online.max == f64::NEG_INFINITY => Solved::Nothing,
                    Some(weigher) => Solved::Unnormalized { weigher, of_self: online.sum * weigher.share() },
                    None => softmax::from_sum(online.max, online.sum, self.separation == Separation::Softmax1),
                };
                let is_exact = !self.separation.is_normalized();
                let share = solved.share();
                // Zero has one sign, whichever patterns were skipped.
                let mean =
                    |sums: Vec<f32>| vectorized(|| sums.iter().map(|sum| f64::from(*sum) * share + 0.0).collect());
                let sums = Some((mean(online.keys), mean(online.values)));
                let top = online.list.filter(|list| !list.overflow).map(|mut list| {
                    list.prune();
                    let mut exact = list.entries.clone();
                    self.rescore(query, &mut exact);
                    let ranked = exact.into_iter().zip(list.entries);
                    best(
                        ranked
                            .map(|(entry, (weighed, _))| Ranked {
                                entry,
                                weighed: if is_exact { entry.0 } else { weighed },
                            })
                            .collect(),
                        self.top,
                    )
                });
                Some(Solution { solved, support: None, top, sums })
            }
            Scan::Candidates(list) if list.overflow => None,
            Scan::Candidates(mut list) => {
                list.prune();
                let usable = list.has_seen();
                let mut entries = list.entries;
                self.prune(&mut entries, self.margin(query).unwrap_or(f64::INFINITY));
                self.rescore(query, &mut entries);
                Some(self.solve_listed(query, entries, usable))
            }
        }
    }

    /// Whether powers have left sums below the range of `f32`, of which a direction or a sign may be wanted.
    fn vanishes(&self, online: &Online) -> bool {
        const SMALLEST: f32 = 1e-30;
        let vanishes = |sums: &[f32]| vectorized(|| sums.iter().fold(true, |all, sum| all & (sum.abs() < SMALLEST)));
        let usable = online.max > f64::NEG_INFINITY;
        usable && Counting::may_vanish(self.separation) && vanishes(&online.keys) && vanishes(&online.values)
    }

    /// Replaces the approximate scores of entries by the exact ones.
    fn rescore(&self, query: &Query, entries: &mut [Entry]) {
        entries.par_chunks_mut(1024).for_each(|entries| {
            let mut scratch = Vec::new();
            for entry in entries {
                entry.0 = self.view.score_of(query, entry.1, &mut scratch);
            }
        });
    }

    /// Drops entries of sparsemax and entmax that neither can have weight if approximate scores are out of order by up
    /// to `margin`, as a threshold moves by no more than the scores do, nor are reported.
    fn prune(&self, entries: &mut Vec<Entry>, margin: f64) {
        if separation::alpha(self.separation).is_none() {
            return;
        }
        if let Solved::Entmax { threshold, .. } = separation::solve(self.separation, entries) {
            // With room for the rounding of the threshold itself.
            let threshold_margin = (threshold.alpha() - 1.0) * margin + 1e-9;
            let reported = match self.lists_top() {
                true if entries.len() <= self.top => f64::NEG_INFINITY,
                true => entries.select_nth_unstable_by(self.top - 1, preferred).1.0 - margin,
                false => f64::INFINITY,
            };
            entries.retain(|entry| threshold.gap(entry.0) > -threshold_margin || entry.0 >= reported);
        }
    }

    /// Solves one query from the positions of every pattern that can have weight or be reported.
    fn solve_bounded(&self, query: &Query, positions: &[usize]) -> Solution {
        let mut entries: Vec<Entry> = positions.iter().map(|position| (0.0, *position)).collect();
        self.rescore(query, &mut entries);
        self.solve_listed(query, entries, true)
    }

    /// Solves one query whose list holds the exact scores of every pattern that can have weight, of patterns of which
    /// some are usable or not.
    fn solve_listed(&self, query: &Query, mut entries: Vec<Entry>, usable: bool) -> Solution {
        let solved = match Unnormalized::of(&self.view.engine.rule, query.beta) {
            None => separation::solve(self.separation, &mut entries),
            Some(_) if !usable => Solved::Nothing,
            Some(weigher) => {
                let of_self: f64 = entries.iter().map(|entry| weigher.undivided(entry.0).of_self).sum();
                Solved::Unnormalized { weigher, of_self: of_self * weigher.share() }
            }
        };
        let ranked = || entries.iter().map(|entry| Ranked { entry: *entry, weighed: entry.0 }).collect();
        let top = self.lists_top().then(|| best(ranked(), self.top));
        entries.retain(|entry| solved.weight(*entry) > 0.0);
        entries.sort_unstable_by_key(|entry| entry.1);
        Solution { solved, support: Some(entries), top, sums: None }
    }

    /// Solves one query from exact scores: from a list of up to [`MAX_EXACT_ENTRIES`] a split, or by further passes
    /// where that is too short.
    pub fn solve_exactly(&self, query: &Query) -> Solution {
        let keep = self.keep_for(query, 0.0);
        if keep.largest <= MAX_EXACT_ENTRIES / 2 {
            let make = |_| Candidates::new(keep, MAX_EXACT_ENTRIES);
            let mut lists =
                self.view.pass(query, false, make, |list, one| list.push((one.score, one.index))).into_iter();
            let first = lists.next().unwrap_or_else(|| make(0));
            let mut list = lists.fold(first, |mut all, list| {
                all.merge(list);
                all
            });
            if !list.overflow {
                list.prune();
                let usable = list.has_seen();
                return self.solve_listed(query, list.entries, usable);
            }
        }
        let solved = streaming::solve(&self.view, query, self.separation);
        Solution { solved, support: None, top: None, sums: None }
    }

    /// Solves one query without error from the rounding of approximate scores.
    pub fn solve(&self, query: &Query) -> Solution {
        match self.method(query) {
            Method::Candidates => self.scan(&[query], Summed::NOTHING).pop().expect("one solution for one query"),
            _ => self.solve_exactly(query),
        }
    }

    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows, empty where they are not asked for.
    pub fn sums(&self, query: &Query, solution: &Solution, summed: Summed) -> (Vec<f64>, Vec<f64>) {
        let engine = self.view.engine;
        let layout = engine.layout;
        let [keys, values] = summed.strides(&layout);
        let (empty, values) = (|| (vec![0.0; keys], vec![0.0; values]), values > 0);
        let mut sums = empty();
        if let Some(support) = &solution.support {
            let mut scratch = Vec::new();
            for entry in support {
                let weight = solution.solved.listed(*entry);
                let (block, at) = engine.windows.row(entry.1);
                projection::add(&mut sums.0, weight, block.keys.load(at, 1, layout.key_stride(), &mut scratch));
                if let (Some(rows), true) = (&block.values, values) {
                    projection::add(&mut sums.1, weight, rows.load(at, 1, layout.value_stride(), &mut scratch));
                }
            }
            return share(sums, solution.solved.share_of_listed());
        }
        let splits = self.view.pass(
            query,
            values,
            |_| empty(),
            |(keys, values), pattern| {
                let weight = solution.solved.listed((pattern.score, pattern.index));
                if weight != 0.0 {
                    projection::add(keys, weight, pattern.key);
                    if let Some(value) = pattern.value {
                        projection::add(values, weight, value);
                    }
                }
            },
        );
        for (keys, values) in splits {
            for (into, from) in [(&mut sums.0, keys), (&mut sums.1, values)] {
                into.iter_mut().zip(from).for_each(|(sum, part)| *sum += part);
            }
        }
        share(sums, solution.solved.share_of_listed())
    }
}

/// Sums times a factor.
fn share((mut keys, mut values): (Vec<f64>, Vec<f64>), factor: f64) -> (Vec<f64>, Vec<f64>) {
    if factor != 1.0 {
        keys.iter_mut().chain(&mut values).for_each(|sum| *sum *= factor);
    }
    (keys, values)
}
