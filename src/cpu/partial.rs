//! Partial states of queries over some of the patterns, for callers to merge.

use rayon::prelude::*;

use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::projection;
use crate::cpu::tiles::PatternView;
use crate::cpu::usable::Usable;
use crate::error::Result;
use crate::exact::entry::{Entry, keep_best};
use crate::exact::unnormalized::Unnormalized;
use crate::exact::{separation, softmax};
use crate::partial::merge::prune;
use crate::partial::options::PartialOptions;
use crate::partial::state::{Body, Candidate, Mean, Partial, Sums};
use crate::partial::top::{Best, Scored};
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

/// The entries of largest score of some patterns, and others.
struct Largest {
    entries: Vec<Entry>,
    count: usize,
}

impl Largest {
    fn new(count: usize) -> Self {
        Self { entries: Vec::new(), count }
    }

    fn push(&mut self, entry: Entry) {
        if self.count == 0 {
            return;
        }
        self.entries.push(entry);
        if self.entries.len() >= 4 * self.count + 64 {
            keep_best(&mut self.entries, self.count);
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
        let (mask, patterns) = (options.mask.as_ref(), self.windows.len());
        let usable = Usable { alive, mask, patterns, ..Usable::default() };
        let view = PatternView { engine: self, usable, range: options.range(usable.patterns), biased: true };
        let usable_by = |query: usize| view.range.clone().filter(|index| usable.keeps(query, *index)).count() as u64;
        // A mask of one row is the same for every query.
        let same = options.mask.as_ref().is_none_or(|mask| !mask.is_per_query());
        let all = if same && !queries.is_empty() { usable_by(0) } else { 0 };
        let partials = queries
            .par_chunks(self.layout.dim)
            .enumerate()
            .map(|(position, row)| {
                let query = Query::of_row(position, f64::from(self.rule.beta), row);
                let (body, best) = match self.rule.separation {
                    Separation::Softmax | Separation::Softmax1 => {
                        let (mean, best) = self.mean(&view, &query, options.top);
                        (Body::Mean(mean), best)
                    }
                    separation if !separation.is_normalized() => {
                        let (sums, best) = self.sums(&view, &query, options.top);
                        (Body::Sums(sums), best)
                    }
                    _ => {
                        let (candidates, best) = self.candidates(&view, &query, options);
                        (Body::Candidates(candidates), best)
                    }
                };
                let best = Self::best(&view, &query, best, options);
                let patterns = if same { all } else { usable_by(position) };
                Partial {
                    rule: self.rule,
                    dim: self.layout.dim,
                    value_dim: self.layout.value_dim,
                    patterns,
                    body,
                    best,
                }
            })
            .collect();
        self.check_rows(operation)?;
        Ok(partials)
    }

    fn mean(&self, view: &PatternView<'_>, query: &Query, top: usize) -> (Mean, Vec<Entry>) {
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
            |_| (empty(), Largest::new(top)),
            |(sums, largest), pattern| {
                largest.push((pattern.score, pattern.index));
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
        let (mut total, mut best) = (empty(), Largest::new(top));
        for (mut sums, largest) in splits {
            total.add(&mut sums);
            best.entries.extend(largest.entries);
        }
        let best = best.entries;
        let columns = total.keys[..layout.dim].iter().chain(&total.values[..layout.value_dim.unwrap_or(0)]);
        if total.sum == 0.0 {
            let rows = columns.copied().collect();
            return (Mean { log_sum: total.max, score: 0.0, largest: total.max, rows }, best);
        }
        let mean = Mean {
            log_sum: total.max + total.sum.ln(),
            score: total.max + total.scores / total.sum,
            largest: total.max,
            rows: columns.map(|sum| sum / total.sum).collect(),
        };
        (mean, best)
    }

    /// Sums by weights that are not normalised.
    fn sums(&self, view: &PatternView<'_>, query: &Query, top: usize) -> (Sums, Vec<Entry>) {
        let layout = self.layout;
        let columns = layout.dim + layout.value_dim.unwrap_or(0);
        let Some(weigher) = Unnormalized::of(&self.rule, query.beta) else {
            return (Sums::of(0.0, vec![0.0; columns]), Vec::new());
        };
        let empty = || (0.0, vec![0.0; layout.key_stride()], vec![0.0; layout.value_stride()]);
        let splits = view.pass(
            query,
            true,
            |_| (empty(), Largest::new(top)),
            |((of_self, keys, values), largest), pattern| {
                largest.push((pattern.score, pattern.index));
                let count = weigher.undivided(pattern.score);
                *of_self += count.of_self;
                if count.weight != 0.0 {
                    projection::add(keys, count.weight, pattern.key);
                    if let Some(value) = pattern.value {
                        projection::add(values, count.weight, value);
                    }
                }
            },
        );
        let (mut total, mut best) = (empty(), Vec::new());
        for ((of_self, keys, values), largest) in splits {
            total.0 += of_self;
            for (into, from) in [(&mut total.1, keys), (&mut total.2, values)] {
                into.iter_mut().zip(from).for_each(|(sum, part)| *sum += part);
            }
            best.extend(largest.entries);
        }
        let (of_self, keys, values) = total;
        let share = weigher.share();
        let rows = keys[..layout.dim].iter().chain(&values[..layout.value_dim.unwrap_or(0)]).map(|sum| sum * share);
        (Sums::of(of_self * share, rows.collect()), best)
    }

    fn candidates(
        &self,
        view: &PatternView<'_>,
        query: &Query,
        options: &PartialOptions,
    ) -> (Vec<Candidate>, Vec<Entry>) {
        let layout = self.layout;
        let separation = self.rule.separation;
        let prune_entries =
            |entries: &mut Vec<Entry>| separation::prune(separation, entries, |entry| (entry.0, entry.1 as u64));
        // Every pattern that can have weight is kept, however many there are; a list is pruned each time it has
        // doubled.
        let splits = view.pass(
            query,
            false,
            |_| (Vec::new(), 256, Largest::new(options.top)),
            |(entries, limit, largest): &mut (Vec<Entry>, usize, Largest), pattern| {
                largest.push((pattern.score, pattern.index));
                entries.push((pattern.score, pattern.index));
                if entries.len() >= *limit {
                    prune_entries(entries);
                    *limit = (2 * entries.len()).max(256);
                }
            },
        );
        let (mut entries, mut best) = (Vec::new(), Vec::new());
        for (split, _, largest) in splits {
            entries.extend(split);
            best.extend(largest.entries);
        }
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
                Candidate { score, id: options.index_offset.wrapping_add(index as u64), row }
            })
            .collect();
        prune(separation, &mut candidates);
        (candidates, best)
    }

    /// The patterns of largest score that are reported, of `entries`, which have them.
    fn best(view: &PatternView<'_>, query: &Query, mut entries: Vec<Entry>, options: &PartialOptions) -> Best {
        keep_best(&mut entries, options.top);
        let (kind, mut scratch) = (view.engine.rule.similarity, Vec::new());
        let scored = entries.into_iter().map(|(score, index)| Scored {
            score,
            id: options.index_offset.wrapping_add(index as u64),
            similarity: kind.measure(view.similarity_of(query, index, &mut scratch)),
        });
        Best::of(options.top, scored.collect())
    }
}
