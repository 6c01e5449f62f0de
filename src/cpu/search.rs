//! Searches: the lists of a scan, scored again, and how many patterns meet a threshold.

use rayon::prelude::*;

use crate::cpu::engine::Engine;
use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::plan::{Plan, QUERIES_PER_WAVE};
use crate::cpu::scan;
use crate::cpu::solve::Solution;
use crate::cpu::tiles::{PatternView, split};
use crate::cpu::usable::Usable;
use crate::device::info::DeviceInfo;
use crate::error::Result;
use crate::exact::entry::{Entry, keep_best};
use crate::explain::Explanation;
use crate::retrieval::bound::Bound;
use crate::retrieval::report::Status;
use crate::rule::Similarity;
use crate::search::options::search_rule;
use crate::search::{Hits, SearchOptions};
use crate::store::{Alive, View};

impl Engine {
    /// Searches for checked queries (`batch x dim`, tight) among the patterns of `snapshot`, at least one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), before any work is done; those of [`Engine::check_rows`].
    pub fn search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        snapshot: &View,
    ) -> Result<Hits> {
        let (dim, patterns) = (self.layout.dim, self.windows.len());
        let (batch, k) = (queries.len() / dim, options.top.min(patterns));
        let mut hits = Hits::with_room(operation, batch, k, options.bound.is_some())?;
        let rule = search_rule(self.rule, k);
        let engine = Self { rule, ..self.clone() };
        let plan = engine.search_plan(batch, k, options, snapshot.alive());
        let threshold = options.bound.map(|bound| Threshold { similarity: rule.similarity, bound });
        for (number, rows) in queries.chunks(QUERIES_PER_WAVE * dim).enumerate() {
            let queries: Vec<Query> = rows
                .par_chunks_exact(dim)
                .enumerate()
                .map(|(q, row)| Query::of_row(number * QUERIES_PER_WAVE + q, f64::from(rule.beta), row))
                .collect();
            let queries: Vec<&Query> = queries.iter().collect();
            let nearest = plan.nearest(&queries);
            let found = threshold.map(|threshold| plan.found(&queries, &nearest, threshold));
            for (q, nearest) in nearest.into_iter().enumerate() {
                let found = found.as_ref().map_or(nearest.len() as u64, |found| found[q]);
                let status = if nearest.is_empty() { Status::NothingLeft } else { Status::Answered };
                let hit = |entry: &Entry| threshold.is_none_or(|threshold| threshold.is_met(entry.0));
                let measured = nearest.into_iter().take_while(hit);
                let measured = measured.map(|(score, position)| (position, rule.similarity.measure(score)));
                hits.push(measured, found, status, &snapshot.names);
            }
        }
        self.check_rows(operation)?;
        Ok(hits)
    }

    /// How an engine whose scores are similarities searches for the `k` nearest patterns of `batch` queries.
    fn search_plan<'a>(
        &'a self,
        batch: usize,
        k: usize,
        options: &'a SearchOptions,
        alive: Option<&'a Alive>,
    ) -> Plan<'a> {
        let patterns = self.windows.len();
        let usable = Usable { alive, mask: options.mask.as_ref(), patterns, ..Usable::default() };
        let view = PatternView { engine: self, usable, range: 0..patterns, biased: false };
        let plan = Plan::new(view, options.plan_for.unwrap_or(batch));
        // A list of every pattern is one of the largest, too.
        Plan { top: k, separation: self.rule.separation, ..plan }
    }

    /// Explains a search of `batch` queries, at least one.
    pub fn explain_search(&self, batch: usize, options: &SearchOptions, device: DeviceInfo) -> Explanation {
        let k = options.top.min(self.windows.len());
        let engine = Self { rule: search_rule(self.rule, k), ..self.clone() };
        engine.search_plan(batch, k, options, None).explain(batch, device)
    }
}

/// A threshold: whether a score meets it, and the score at it.
#[derive(Clone, Copy)]
struct Threshold {
    similarity: Similarity,
    bound: Bound,
}

impl Threshold {
    /// Decided as the caller sees it, by the similarity that is reported.
    fn is_met(self, score: f64) -> bool {
        self.bound.is_met(self.similarity.measure(score))
    }

    fn score(self) -> f64 {
        let (Bound::AtLeast(measure) | Bound::AtMost(measure)) = self.bound;
        f64::from(measure) / f64::from(self.similarity.measure_factor())
    }
}

impl Plan<'_> {
    /// The patterns of largest exact score of each query, in order of preference, as many as the plan reports.
    fn nearest(&self, queries: &[&Query]) -> Vec<Vec<Entry>> {
        let solutions = self.scan(queries, scan::Summed::NOTHING);
        let entries = |(query, solution): (&&Query, Solution)| match solution.top {
            Some(top) => top.into_iter().map(|ranked| ranked.entry).collect(),
            None => self.nearest_by_pass(query),
        };
        queries.par_iter().zip(solutions).map(entries).collect()
    }

    /// The same by one exact pass, for lists that no scan has room for.
    fn nearest_by_pass(&self, query: &Query) -> Vec<Entry> {
        let parts = self.view.pass(
            query,
            false,
            |_| Vec::new(),
            |entries: &mut Vec<Entry>, pattern| {
                entries.push((pattern.score, pattern.index));
                if entries.len() >= 4 * self.top + 64 {
                    keep_best(entries, self.top);
                }
            },
        );
        let mut entries = parts.concat();
        keep_best(&mut entries, self.top);
        entries
    }

    /// How many patterns have a score that meets the threshold, for each query. Where not all that are listed do, no
    /// other does.
    fn found(&self, queries: &[&Query], nearest: &[Vec<Entry>], threshold: Threshold) -> Vec<u64> {
        let mut found: Vec<u64> =
            nearest.iter().map(|entries| entries.partition_point(|entry| threshold.is_met(entry.0)) as u64).collect();
        let open = |place: &usize| found[*place] == self.top as u64 && self.top < self.view.range.len();
        let open: Vec<usize> = (0..queries.len()).filter(open).collect();
        let counts: Vec<Vec<u64>> = open
            .par_chunks(self.block)
            .map(|places| {
                let queries: Vec<&Query> = places.iter().map(|place| queries[*place]).collect();
                self.count(&queries, threshold)
            })
            .collect();
        for (place, count) in open.into_iter().zip(counts.into_iter().flatten()) {
            found[place] = count;
        }
        found
    }

    /// How many patterns have a score that meets the threshold, for each query of a block: those whose approximate
    /// score is too close to tell are scored exactly.
    fn count(&self, queries: &[&Query], threshold: Threshold) -> Vec<u64> {
        let margins: Option<Vec<f64>> = queries.iter().map(|query| self.margin(query)).collect();
        let Some(margins) = margins else {
            let by_pass = |query: &&Query| -> u64 {
                let count = |count: &mut u64, score: f64| *count += u64::from(threshold.is_met(score));
                self.view.pass(query, false, |_| 0, |sum, pattern| count(sum, pattern.score)).into_iter().sum()
            };
            return queries.iter().map(by_pass).collect();
        };
        // Scores above `sure` are in, those below `open` are out.
        let least_score = threshold.score();
        // Scores this close may be reported as the same number.
        let close = least_score.abs() * f64::from(f32::EPSILON);
        let bounds: Vec<(f64, f64)> =
            margins.iter().map(|margin| margin / 2.0 + close).map(|m| (least_score - m, least_score + m)).collect();
        let packed = Packed::new(self.form, self.view.engine.rule.similarity, self.level.lanes(), queries);
        let parts: Vec<Vec<u64>> = split(&self.view.range, self.splits)
            .par_iter()
            .map(|range| {
                let (mut counts, mut scratch) = (vec![0; queries.len()], Vec::new());
                scan::scores(&self.view, self.level, &packed, queries, range, false, |tile, pitch, scores| {
                    for (q, ((query, count), (open, sure))) in queries.iter().zip(&mut counts).zip(&bounds).enumerate()
                    {
                        for t in 0..scan::scored(packed.form, tile) {
                            let (at, place) = match packed.form {
                                Form::Panel => (t * pitch + q, tile.place(t)),
                                Form::Rows => (q * pitch + t, t),
                            };
                            let score = f64::from(scores[at]);
                            let counts = score > *sure
                                || (score >= *open
                                    && threshold.is_met(self.view.score_of(query, tile.first + place, &mut scratch)));
                            *count += u64::from(counts);
                        }
                    }
                });
                counts
            })
            .collect();
        (0..queries.len()).map(|q| parts.iter().map(|part| part[q]).sum()).collect()
    }
}
