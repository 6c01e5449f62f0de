//! Partial states of queries over some of the patterns, for callers to merge.

use rayon::prelude::*;

use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::projection;
use crate::cpu::tiles::PatternView;
use crate::cpu::usable::Usable;
use crate::error::Result;
use crate::exact::entry::Entry;
use crate::exact::{separation, softmax};
use crate::partial::merge::prune;
use crate::partial::options::PartialOptions;
use crate::partial::state::{Body, Candidate, Mean, Partial};
use crate::rule::Separation;
use crate::store::Alive;

/// The softmax of some patterns, not normalised.
struct MeanSums {
    max: f64,
    sum: f64,
    /// `sum exp(z - max) (z - max)`.
    scores: f64,
    keys: Vec<f64>,
    values: Vec<f64>,
}

impl MeanSums {
    /// Rescales to the maximum `max`, if that is larger.
    fn raise(&mut self, max: f64) {
        if max <= self.max {
            return;
        }
        let rescale = softmax::rescale(self.max, max);
        if self.sum > 0.0 {
            self.scores = rescale * (self.scores + self.sum * (self.max - max));
            self.sum *= rescale;
            self.keys.iter_mut().chain(&mut self.values).for_each(|sum| *sum *= rescale);
        }
        self.max = max;
    }

    /// Adds the sums of later patterns.
    fn add(&mut self, other: &mut Self) {
        if other.max == f64::NEG_INFINITY {
            return;
        }
        self.raise(other.max);
        other.raise(self.max);
        self.sum += other.sum;
        self.scores += other.scores;
        for (into, from) in [(&mut self.keys, &other.keys), (&mut self.values, &other.values)] {
            into.iter_mut().zip(from).for_each(|(sum, part)| *sum += part);
        }
    }
}

impl Engine {
    /// The partial states of checked queries over the patterns that `options` name.
    ///
    /// # Errors
    /// Those of [`Engine::check_rows`].
    pub fn partials(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        alive: Option<&Alive>,
    ) -> Result<Vec<Partial>> {
        let usable = Usable { alive, mask: options.mask.as_ref(), patterns: self.windows.len() };
        let view = PatternView { engine: self, usable, range: options.range(usable.patterns), biased: true };
        let usable_by = |query: usize| view.range.clone().filter(|index| usable.keeps(query, *index)).count() as u64;
        // A mask of one row is the same for every query.
        let same = options.mask.as_ref().is_none_or(|mask| !mask.is_per_query());
        let all = if same && !queries.is_empty() { usable_by(0) } else { 0 };
        let partials = queries
            .par_chunks(self.layout.dim)
            .enumerate()
            .map(|(position, row)| {
                let query = Query::of_row(position, row);
                let body = match self.rule.separation {
                    Separation::Softmax | Separation::Softmax1 => Body::Mean(self.mean(&view, &query)),
                    _ => Body::Candidates(self.candidates(&view, &query, options.index_offset)),
                };
                let patterns = if same { all } else { usable_by(position) };
                Partial { rule: self.rule, dim: self.layout.dim, value_dim: self.layout.value_dim, patterns, body }
            })
            .collect();
        self.check_rows(operation)?;
        Ok(partials)
    }

    fn mean(&self, view: &PatternView<'_>, query: &Query) -> Mean {
        let layout = self.layout;
        let empty = || MeanSums {
            max: f64::NEG_INFINITY,
            sum: 0.0,
            scores: 0.0,
            keys: vec![0.0; layout.key_stride()],
            values: vec![0.0; layout.value_stride()],
        };
        let splits = view.pass(
            query,
            true,
            |_| empty(),
            |sums, pattern| {
                sums.raise(pattern.score);
                let weight = (pattern.score - sums.max).exp();
                sums.sum += weight;
                if weight > 0.0 {
                    sums.scores += weight * (pattern.score - sums.max);
                    projection::add(&mut sums.keys, weight, pattern.key);
                    if let Some(value) = pattern.value {
                        projection::add(&mut sums.values, weight, value);
                    }
                }
            },
        );
        let mut total = empty();
        for mut split in splits {
            total.add(&mut split);
        }
        let columns = total.keys[..layout.dim].iter().chain(&total.values[..layout.value_dim.unwrap_or(0)]);
        if total.sum == 0.0 {
            return Mean { log_sum: total.max, score: 0.0, largest: total.max, rows: columns.copied().collect() };
        }
        Mean {
            log_sum: total.max + total.sum.ln(),
            score: total.max + total.scores / total.sum,
            largest: total.max,
            rows: columns.map(|sum| sum / total.sum).collect(),
        }
    }

    fn candidates(&self, view: &PatternView<'_>, query: &Query, index_offset: u64) -> Vec<Candidate> {
        let layout = self.layout;
        let separation = self.rule.separation;
        let prune_entries =
            |entries: &mut Vec<Entry>| separation::prune(separation, entries, |entry| (entry.0, entry.1 as u64));
        // Every pattern that can have weight is kept, however many there are; a list is pruned each time it has
        // doubled.
        let splits = view.pass(
            query,
            false,
            |_| (Vec::new(), 256),
            |(entries, limit): &mut (Vec<Entry>, usize), pattern| {
                entries.push((pattern.score, pattern.index));
                if entries.len() >= *limit {
                    prune_entries(entries);
                    *limit = (2 * entries.len()).max(256);
                }
            },
        );
        let mut entries: Vec<Entry> = splits.into_iter().flat_map(|(entries, _)| entries).collect();
        prune_entries(&mut entries);
        let mut scratch = Vec::new();
        let mut candidates: Vec<Candidate> = entries
            .into_iter()
            .map(|(score, index)| {
                let (block, at) = self.windows.row(index);
                let mut row = block.keys.load(at, 1, layout.key_stride(), &mut scratch)[..layout.dim].to_vec();
                if let (Some(values), Some(columns)) = (&block.values, layout.value_dim) {
                    row.extend(&values.load(at, 1, layout.value_stride(), &mut scratch)[..columns]);
                }
                Candidate { score, id: index_offset.wrapping_add(index as u64), row }
            })
            .collect();
        prune(separation, &mut candidates);
        candidates
    }
}
