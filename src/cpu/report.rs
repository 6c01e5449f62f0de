//! Reports on the weights of the last step. They come from the lists of its scan. Statistics and weights of softmax,
//! which no list holds, take one more scan of approximate scores. Where a list overflowed, an exact pass replaces it.

use rayon::prelude::*;

use crate::cpu::pack::Query;
use crate::cpu::parts::{ranges_of, taken};
use crate::cpu::plan::Plan;
use crate::cpu::solve::{Ranked, Solution};
use crate::cpu::tiles::{TASKS, split};
use crate::cpu::weigh::{Tally, Weighed};
use crate::exact::entry::{Entry, keep_best};
use crate::exact::solved::Solved;
use crate::retrieval::report::Statistics;
use crate::rule::Separation;

/// What is asked for besides the rows of weights that the plan has.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub statistics: bool,
    /// How many patterns are stored, by which statistics are judged.
    pub stored: usize,
}

/// What is reported of one query.
#[derive(Default)]
pub(super) struct Report {
    pub statistics: Option<Statistics>,
    /// Positions and weights, in order; fewer than were asked for where fewer patterns are usable.
    pub top: Option<Vec<(usize, f32)>>,
    /// Their similarities, as they are reported.
    pub similarities: Vec<f32>,
    /// Whether its row of weights is written, if it has one.
    weighed: bool,
}

/// What is not reported yet.
struct Missing {
    statistics: bool,
    top: bool,
    weights: bool,
}

/// A query whose report is to be completed.
pub(super) struct Incomplete<'a> {
    /// The state that the last step started from.
    pub query: &'a Query,
    pub solved: Solved,
    /// Whether `solved` is of approximate scores, as a scan gives them.
    pub online: bool,
    pub report: &'a mut Report,
}

/// Sums over some patterns of one query.
#[derive(Default)]
struct Part<'a> {
    support: u32,
    entropy: f64,
    largest: f64,
    top: Vec<Entry>,
    /// The weights of its patterns in the row.
    weights: Option<&'a mut [f32]>,
}

impl Part<'_> {
    fn add(&mut self, solved: &Solved, entry: Entry, weight: f64) {
        self.support += u32::from(solved.supports(entry));
        if weight > 0.0 {
            self.entropy -= weight * weight.ln();
            self.largest = self.largest.max(weight);
        }
    }

    fn statistics(&self, stored: usize) -> Statistics {
        let perplexity = if self.support == 0 { 0.0 } else { self.entropy.exp() as f32 };
        Statistics::new(self.support, perplexity, self.largest as f32, stored)
    }
}

/// A weight as `f32`, in which one that is not normalised may overflow: the largest number then. One that is no number,
/// from sums beyond `f64`, is 0.
fn narrow_weight(weight: f64) -> f32 {
    const MAX: f64 = f32::MAX as f64;
    if weight.is_nan() { 0.0 } else { weight.clamp(-MAX, MAX) as f32 }
}

/// Positions and weights of patterns in order. Where weights follow from approximate scores, of which two that are
/// nearly equal may be in another order, no weight is above the one before it.
fn weights_of(solved: &Solved, top: &[Ranked]) -> Vec<(usize, f32)> {
    let mut most = f32::INFINITY;
    let weight = |Ranked { entry, weighed }: &Ranked| {
        most = most.min(narrow_weight(solved.weight((*weighed, entry.1))));
        (entry.1, most)
    };
    top.iter().map(weight).collect()
}

impl Plan<'_> {
    /// What the solution of the query at `position` tells without another look at the patterns.
    pub fn report(&self, position: usize, solution: &Solution, request: Request) -> Report {
        let solved = &solution.solved;
        let mut report = Report::default();
        if self.top > 0 {
            report.top = solution.top.as_ref().map(|top| weights_of(solved, top));
        }
        // The list of a softmax lacks weights that are too small to change a sum.
        let (Some(support), Separation::Sparsemax | Separation::Entmax { .. } | Separation::TopK { .. }) =
            (&solution.support, self.separation)
        else {
            return report;
        };
        if request.statistics {
            let mut part = Part::default();
            for entry in support {
                part.add(solved, *entry, solved.weight(*entry));
            }
            report.statistics = Some(part.statistics(request.stored));
        }
        if let Some(mut row) = self.weights.and_then(|rows| rows.row(position)) {
            for entry in support {
                row[entry.1] = solved.weight(*entry) as f32;
            }
        }
        report.weighed = true;
        report
    }

    fn missing(&self, position: usize, report: &Report, request: Request) -> Missing {
        Missing {
            statistics: request.statistics && report.statistics.is_none(),
            top: self.top > 0 && report.top.is_none(),
            weights: !report.weighed && self.weights.is_some_and(|rows| rows.has(position)),
        }
    }

    /// Completes reports by looking at the patterns again, where something is missing.
    pub fn complete(&self, queries: Vec<Incomplete<'_>>, request: Request) {
        let (mut scanned, mut passed) = (Vec::new(), Vec::new());
        // Weights that are not normalised are those of exact scores.
        let counts = !self.separation.is_normalized();
        for query in queries {
            match self.missing(query.query.position, query.report, request) {
                Missing { statistics: false, top: false, weights: false } => {}
                Missing { top: false, .. } if query.online && !counts => scanned.push(query),
                missing => passed.push((query, missing)),
            }
        }
        scanned.par_chunks_mut(self.block).for_each(|block| self.weigh_block(block, request));
        passed.into_par_iter().for_each(|(query, missing)| self.pass_for(query, &missing, request));
    }

    /// Completes a block of reports on softmax by one scan.
    fn weigh_block(&self, block: &mut [Incomplete<'_>], request: Request) {
        let mut weighed = Vec::new();
        let mut places = Vec::new();
        for (place, one) in block.iter().enumerate() {
            let row = self.weights.and_then(|rows| rows.row(one.query.position));
            if let Some(one) = Weighed::new(one.query, one.solved, row) {
                weighed.push(one);
                places.push(place);
            }
        }
        let sums: Vec<f64> = weighed.iter().map(|one| one.sum).collect();
        let tallies = if weighed.is_empty() { Vec::new() } else { self.weigh(weighed) };
        let mut statistics = vec![Statistics::new(0, 0.0, 0.0, request.stored); block.len()];
        for ((place, tally), sum) in places.into_iter().zip(tallies).zip(sums) {
            let Tally { support, mass, moment, largest } = tally;
            // Of `p = w / sum`: `-sum p ln p`.
            let entropy = (mass * sum.ln() - moment) / sum;
            let perplexity = if support == 0 { 0.0 } else { entropy.exp() as f32 };
            let largest = (f64::from(largest) / sum) as f32;
            statistics[place] = Statistics::new(support, perplexity, largest, request.stored);
        }
        for (one, statistics) in block.iter_mut().zip(statistics) {
            one.report.statistics = request.statistics.then_some(statistics);
            // A weight is the same number wherever it is reported.
            let row = self.weights.and_then(|rows| rows.row(one.query.position));
            if let (Some(mut row), Some(top)) = (row, &one.report.top) {
                for (position, weight) in top {
                    row[*position] = *weight;
                }
            }
        }
    }

    /// Completes one report by an exact pass.
    fn pass_for(&self, query: Incomplete<'_>, missing: &Missing, request: Request) {
        let Incomplete { query, solved, report, .. } = query;
        let mut row = match missing.weights {
            true => self.weights.and_then(|rows| rows.row(query.position)),
            false => None,
        };
        // The splits of `pass`.
        let splits = split(&self.view.range, TASKS);
        let rows = ranges_of(row.as_mut().map(|row| &mut row[..]), &splits);
        let top = if missing.top { self.top } else { 0 };
        let parts = self.view.pass(
            query,
            false,
            |number| (splits[number].start, Part { weights: taken(&rows, number), ..Part::default() }),
            |(first, part), pattern| {
                let entry = (pattern.score, pattern.index);
                let weight = solved.weight(entry);
                part.add(&solved, entry, weight);
                if top > 0 {
                    part.top.push(entry);
                    if part.top.len() >= 4 * top + 64 {
                        keep_best(&mut part.top, top);
                    }
                }
                if let Some(weights) = &mut part.weights {
                    weights[pattern.index - *first] = narrow_weight(weight);
                }
            },
        );
        let mut total = Part::default();
        for (_, part) in parts {
            total.support += part.support;
            total.entropy += part.entropy;
            total.largest = total.largest.max(part.largest);
            total.top.extend(part.top);
        }
        if missing.statistics {
            report.statistics = Some(total.statistics(request.stored));
        }
        if missing.top {
            keep_best(&mut total.top, top);
            let ranked = total.top.into_iter().map(|entry| Ranked { entry, weighed: entry.0 });
            report.top = Some(weights_of(&solved, &ranked.collect::<Vec<_>>()));
        }
        report.weighed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::engine::Engine;
    use crate::precision::Precision;
    use crate::retrieval::options::RetrieveOptions;
    use crate::rule::{Rule, Similarity};
    use crate::store::{Growth, Layout, NewRows};

    /// Lists and scans report what exact passes do, which is what lists without room leave.
    #[test]
    fn every_way_reports_the_same() {
        let numbers = |seed: usize, length: usize| -> Vec<f32> {
            (0..length).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
        };
        let (dim, patterns) = (22, 2100);
        for separation in [
            Separation::Softmax,
            Separation::Softmax1,
            Separation::Sparsemax,
            Separation::Entmax { alpha: 1.5 },
            Separation::TopK { k: 7 },
        ] {
            let layout = Layout { dim, value_dim: None, precision: Precision::F32, bias: false, max_rows: 1000 };
            let mut engine = Engine::new(layout, Rule::new(Similarity::Euclidean, separation, 0.9));
            engine.reserve(patterns, Growth::Doubling).unwrap();
            engine.add(&NewRows { keys: &numbers(1, patterns * dim), values: None, bias: None }).unwrap();
            for batch in [1, 3, 37] {
                let (options, queries) = (RetrieveOptions::default().statistics(), numbers(3, batch * dim));
                let answers = |list_entries: Option<usize>, top: usize| {
                    let mut plan = Plan { top, ..Plan::new(engine.view(&options, None), batch) };
                    plan.list_entries = list_entries.unwrap_or(plan.list_entries);
                    let mut rows = [(); 2].map(|()| vec![0.0; batch * dim]);
                    let [state, output] = &mut rows;
                    plan.wave(0, &queries, (state, output), &options, patterns)
                };
                for top in [0, 1, 10, 1024] {
                    for (listed, passed) in answers(None, top).iter().zip(answers(Some(1), top)) {
                        let what = format!("{separation:?} B {batch} top {top}");
                        let (listed, passed) = (&listed.report, passed.report);
                        let (statistics, expected) = (listed.statistics.unwrap(), passed.statistics.unwrap());
                        let near = |a: f32, b: f32| (a - b).abs() <= 2e-5 * b.abs();
                        assert_eq!(statistics.support, expected.support, "{what}");
                        assert!(
                            near(statistics.perplexity, expected.perplexity),
                            "{what}: {statistics:?} {expected:?}"
                        );
                        assert!(near(statistics.largest, expected.largest), "{what}: {statistics:?} {expected:?}");
                        let (top, expected) = (listed.top.clone().unwrap_or_default(), passed.top.unwrap_or_default());
                        assert_eq!(top.len(), expected.len(), "{what}");
                        for ((index, weight), (expected, heavy)) in top.into_iter().zip(expected) {
                            assert!(index == expected && near(weight, heavy), "{what}: {index} for {expected}");
                        }
                    }
                }
            }
        }
    }
}
