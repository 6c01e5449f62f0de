//! The layout of an answer buffer, and how its contents become a [`Retrieval`].

mod weights;

use std::ops::Range;

use super::kernels::staged::{advance_states, update_states};
use super::targets::OwnedRows;
use super::task::{ListOutputs, Outputs, WeightOutputs};
use crate::error::{Error, Result};
use crate::partial::state::{Body, Mean, Sums};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::{Retrieval, Status};
use crate::retrieval::top::Thresholds;
use crate::room::numbers;
use crate::rule::Rule;
pub(crate) use weights::MemoryFacts;
use weights::{Listed, WORDS, Weights};

/// The sections of an answer buffer, in bytes from its start. Each section has one row for each query.
pub(crate) struct Answers {
    facts: MemoryFacts,
    count: usize,
    report: u64,
    output: u64,
    /// A section of its own only where states differ from outputs.
    state: Option<u64>,
    /// Records and, where they are needed, tallies of the last step's weights.
    weighed: Option<(u64, Option<u64>)>,
    /// Whether statistics are reported.
    statistics: bool,
    energy: Option<[u64; 2]>,
    trace: Vec<[u64; 3]>,
    /// Heads, entries and similarities of lists of largest scores.
    top: Option<[u64; 3]>,
    /// The number of patterns of a top list, reported or not.
    k: u32,
    thresholds: Thresholds,
    /// Runs of queries whose weights are reported: the first query, how many, and the byte where their weights start.
    weights: Vec<(u32, u32, u64)>,
    /// The betas and the field of its queries, where they have their own.
    betas: Option<Vec<f32>>,
    field: Option<Vec<f32>>,
    pub size: u64,
}

impl Answers {
    /// The layout for queries `part` of a batch, of which `weights` report their weights in full.
    pub fn new(facts: MemoryFacts, options: &RetrieveOptions, part: Range<usize>, weights: &[usize]) -> Self {
        let (mut size, count) = (0, part.len());
        let mut section = |words: u64| {
            let at = size;
            // A size beyond `u64` stays larger than any buffer.
            size = (count as u64).saturating_mul(words).saturating_mul(4).saturating_add(size);
            at
        };
        let layout = facts.layout;
        let report = section(update_states::REPORT_WORDS.into());
        let output = section(layout.output_dim() as u64);
        let apart = options.states_apart(&facts.rule, layout.value_dim.is_some());
        let state = apart.then(|| section(layout.dim as u64));
        let weighs = options.statistics || options.top > 0 || !weights.is_empty();
        let tallied = options.statistics || !weights.is_empty() || (weighs && (options.energy || options.trace));
        let weighed = weighs.then(|| (section(WORDS), tallied.then(|| section(WORDS))));
        let energy = options.energy.then(|| [section(WORDS), section(WORDS)]);
        let states = if options.trace { options.max_steps() + 1 } else { 0 };
        let trace = (0..states).map(|_| [section(WORDS), section(WORDS), section(layout.dim as u64)]).collect();
        let k = options.listed(facts.patterns) as u32;
        let top = (k > 0).then(|| [section(4), section(2 * u64::from(k)), section(k.into())]);
        let mut runs: Vec<(u32, u32, u64)> = Vec::new();
        for &query in weights {
            match runs.last_mut() {
                Some((first, length, _)) if query == (*first + *length) as usize => *length += 1,
                _ => runs.push((query as u32, 1, size)),
            }
            size = size.saturating_add(4 * facts.patterns as u64);
        }
        let RetrieveOptions { statistics, thresholds, .. } = *options;
        let own = &options.per_query;
        let fields = part.start * layout.dim..part.end * layout.dim;
        let weights = runs;
        Self {
            facts,
            count,
            report,
            output,
            state,
            weighed,
            statistics,
            energy,
            trace,
            top,
            k,
            thresholds,
            weights,
            betas: own.betas.as_ref().map(|betas| betas[part].to_vec()),
            field: own.field.as_ref().map(|field| field[fields].to_vec()),
            size,
        }
    }

    /// The most bytes of one query's answers.
    pub fn bytes_per_query(facts: MemoryFacts, options: &RetrieveOptions, weights: bool) -> u64 {
        // Whatever has a section, without copying the options' masks and flags.
        let options = RetrieveOptions {
            stop: options.stop,
            trace: options.trace,
            top: options.top,
            thresholds: options.thresholds,
            clamp: Some(Vec::new()),
            statistics: true,
            energy: true,
            ..RetrieveOptions::default()
        };
        Self::new(facts, &options, 0..1, if weights { &[0] } else { &[] }).size
    }

    /// The sections as rows of `buffer`, for kernels to write to.
    pub fn outputs(&self, buffer: &wgpu::Buffer, queries: OwnedRows) -> Outputs {
        let rows = |at: u64| OwnedRows::at(buffer, at);
        let outputs = |(records, tallies): (u64, Option<u64>)| WeightOutputs {
            records: rows(records),
            tallies: tallies.map(rows),
            state: None,
        };
        let weighed = |[records, tallies]: [u64; 2]| outputs((records, Some(tallies)));
        Outputs {
            count: self.count,
            queries,
            output: rows(self.output),
            state: self.state.map(rows),
            report: Some(rows(self.report)),
            weighed: self.weighed.map(outputs),
            energy: self.energy.map(weighed),
            trace: self
                .trace
                .iter()
                .map(|&[records, tallies, state]| WeightOutputs {
                    state: Some(rows(state)),
                    ..weighed([records, tallies])
                })
                .collect(),
            top: self.top.map(|[heads, entries, similarities]| ListOutputs {
                k: self.k,
                heads: rows(heads),
                entries: rows(entries),
                similarities: rows(similarities),
            }),
            ranked: None,
            weights: self.weights.iter().map(|&(first, count, at)| (first, count, rows(at))).collect(),
        }
    }

    /// The report of one query.
    ///
    /// # Errors
    /// [`Error::Internal`] where it does not carry the stamp.
    fn report(&self, words: &[u32], query: usize, stamp: u32) -> Result<Report> {
        let report = &words[self.report as usize / 4 + query * update_states::REPORT_WORDS as usize..];
        check_stamp("retrieve", query, report[0], stamp)?;
        Ok(Report { steps: report[1], change: f32::from_bits(report[2]), status: status_of(report[3]) })
    }

    /// What is known of the memory, with the beta of a query in update number `step`.
    fn facts_of(&self, query: usize, step: u32) -> MemoryFacts {
        let rule = self.facts.rule;
        let beta = self.betas.as_ref().map_or(rule.beta, |betas| betas[query]);
        let beta = (f64::from(beta) * rule.update.factor_of(step, rule.beta)) as f32;
        MemoryFacts { rule: Rule { beta, ..rule }, ..self.facts }
    }

    /// What the record of a query, and its tally if there is one, say of the weights of step `step`, the last.
    fn weighed(&self, words: &[u32], query: usize, step: u32) -> Option<Weights> {
        let (records, tallies) = self.weighed?;
        let row = |at: u64| &words[at as usize / 4 + query * WORDS as usize..][..WORDS as usize];
        Some(match tallies {
            Some(tallies) => Weights::new(&self.facts_of(query, step), row(records), row(tallies)),
            None => Weights::of_record(&self.facts_of(query, step), row(records)),
        })
    }

    /// The list of the largest scores of a query, if there is one.
    fn listed(&self, words: &[u32], query: usize) -> Vec<Listed> {
        let Some([heads, entries, similarities]) = self.top else { return Vec::new() };
        let row = |at: u64, width: usize| &words[at as usize / 4 + query * width..][..width];
        let count = row(heads, 4)[0].min(self.k) as usize;
        let entries = row(entries, 2 * self.k as usize).as_chunks::<2>().0;
        let similarities = row(similarities, self.k as usize);
        let listed = entries.iter().zip(similarities).take(count).map(|(entry, similarity)| Listed {
            position: entry[0],
            score: f32::from_bits(entry[1]),
            similarity: f32::from_bits(*similarity),
        });
        listed.collect()
    }

    /// The answers in `bytes` as partial states of softmax, or of weights that are not normalised, over `patterns[b]`
    /// patterns of query `b`, to be merged, each with its list of the largest scores.
    pub fn parts(&self, bytes: &[u8], stamp: u32, patterns: &[u64]) -> Result<Vec<(Body, Vec<Listed>)>> {
        let words = numbers::<u32>("retrieve", "answers", bytes)?;
        let row = |at: u64, query: usize, width: usize| &words[at as usize / 4 + query * width..][..width];
        let layout = self.facts.layout;
        let mean = |(query, patterns): (usize, &u64)| {
            let Report { status, .. } = self.report(&words, query, stamp)?;
            let mut rows = Vec::new();
            let mut extend = |at: u64, columns: usize| {
                rows.extend(row(at, query, columns).iter().map(|&word| f64::from(f32::from_bits(word))));
            };
            if let (Some(state), Some(_)) = (self.state, layout.value_dim) {
                extend(state, layout.dim);
            }
            extend(self.output, layout.output_dim());
            let listed = self.listed(&words, query);
            let weights = self.weighed(&words, query, 1).expect("partial states are weighed");
            if !self.facts.rule.separation.is_normalized() {
                return Ok((Body::Sums(Sums::of(weights.of_self(), rows)), listed));
            }
            if status == Status::NothingLeft {
                let none = f64::NEG_INFINITY;
                return Ok((Body::Mean(Mean { log_sum: none, score: 0.0, largest: none, rows }), listed));
            }
            // The largest weight is 1, so that the sum is within these bounds but for rounding.
            let total = weights.total.clamp(1.0, *patterns as f64);
            let mean = Mean {
                log_sum: weights.maximum + total.ln(),
                score: weights.maximum + weights.score_sum / total,
                largest: weights.maximum,
                rows,
            };
            Ok((Body::Mean(mean), listed))
        };
        patterns.iter().enumerate().map(mean).collect()
    }

    /// Appends the answers in `bytes` to a retrieval that has room for them. Row `i` of the reported weights goes to
    /// row `places[i]` of the retrieval's.
    ///
    /// # Errors
    /// [`Error::Internal`] where a report does not carry the stamp.
    pub fn take(&self, to: &mut Retrieval, bytes: &[u8], stamp: u32, tolerance: f32, places: &[usize]) -> Result<()> {
        let words = numbers::<u32>("retrieve", "answers", bytes)?;
        let row = |at: u64, query: usize, width: usize| &words[at as usize / 4 + query * width..][..width];
        let floats = |words: &[u32]| -> Vec<f32> { words.iter().map(|&word| f32::from_bits(word)).collect() };
        let (dim, output_dim) = (self.facts.layout.dim, self.facts.layout.output_dim());
        for query in 0..self.count {
            let Report { steps, change, status } = self.report(&words, query, stamp)?;
            to.steps.push(steps);
            to.change.push(change);
            to.converged.push(change <= tolerance);
            to.status.push(status);
            let output = floats(row(self.output, query, output_dim));
            let state = self.state.map_or_else(|| output.clone(), |at| floats(row(at, query, dim)));

            let facts = self.facts_of(query, 1);
            let field = self.field.as_ref().map(|field| &field[query * dim..][..dim]);
            let weights_at = |[records, tallies]: [u64; 2]| {
                Weights::new(&facts, row(records, query, WORDS as usize), row(tallies, query, WORDS as usize))
            };
            if let Some(at) = self.energy {
                to.energy.get_or_insert_default().push(weights_at(at).energy(&facts, &state, field));
            }
            if !self.trace.is_empty() {
                let states = self.trace.iter().take(steps as usize + 1);
                let energies = states.map(|&[records, tallies, state]| {
                    weights_at([records, tallies]).energy(&facts, &floats(row(state, query, dim)), field)
                });
                to.energy_trace.get_or_insert_default().push(energies.collect());
            }
            if let Some(weights) = self.weighed(&words, query, steps) {
                if self.statistics {
                    to.statistics.get_or_insert_default().push(weights.statistics(self.facts.stored));
                }
                if self.top.is_some() {
                    let kind = self.facts.rule.similarity;
                    let ranked = weights.rank(self.listed(&words, query), kind, &to.names);
                    to.top.get_or_insert_default().push(&self.thresholds, ranked);
                }
            }
            to.output.extend(output);
            to.state.extend(state);
        }
        let mut places = places.iter();
        for &(first, length, at) in &self.weights {
            for (i, place) in (0..length).zip(&mut places) {
                let query = (first + i) as usize;
                let Report { steps, .. } = self.report(&words, query, stamp)?;
                let weights = self.weighed(&words, query, steps).expect("weights are weighed");
                let raw = row(at, i as usize, self.facts.patterns);
                let scale = if weights.total > 0.0 { 1.0 / weights.total } else { 0.0 };
                let full = raw.iter().map(|&word| (f64::from(f32::from_bits(word)) * scale) as f32);
                if let Some(weights) = &mut to.weights {
                    let row = &mut weights[place * self.facts.patterns..][..self.facts.patterns];
                    row.iter_mut().zip(full).for_each(|(to, weight)| *to = weight);
                }
            }
        }
        Ok(())
    }
}

/// Refuses the report of a query that does not carry the stamp of its run.
///
/// # Errors
/// [`Error::Internal`].
pub(super) fn check_stamp(operation: &'static str, query: usize, carried: u32, stamp: u32) -> Result<()> {
    if carried == stamp {
        return Ok(());
    }
    let message =
        format!("query {query} carries stamp {carried:#x} instead of {stamp:#x}: its commands did not complete");
    Err(Error::Internal { operation, message })
}

/// What the flags of a query say of its answer.
pub(super) fn status_of(flags: u32) -> Status {
    match flags {
        flags if flags & update_states::NOT_FINITE != 0 => Status::NotFinite,
        flags if flags & update_states::OUT_OF_RANGE != 0 => Status::OutOfRange,
        flags if flags & update_states::NOTHING_LEFT != 0 => Status::NothingLeft,
        flags if flags & advance_states::CYCLE != 0 => Status::Cycle,
        _ => Status::Answered,
    }
}

/// The report of one query.
struct Report {
    steps: u32,
    change: f32,
    status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::rule::Rule;
    use crate::store::Layout;

    /// A command buffer that was killed leaves its answers as they were, and may look as if it had run.
    #[test]
    fn answers_without_their_stamp_are_a_loss() {
        let layout = Layout { dim: 3, value_dim: None, precision: Precision::F32, bias: false, max_rows: 8 };
        let facts = MemoryFacts { layout, rule: Rule::softmax(1.0), patterns: 5, stored: 5, largest_square: 1.0 };
        let answers = Answers::new(facts, &RetrieveOptions::default(), 0..2, &[]);
        let mut words = vec![0u32; answers.size as usize / 4];
        let take = |words: &[u32]| answers.take(&mut Retrieval::default(), bytemuck::cast_slice(words), 77, 0.0, &[]);
        assert!(matches!(take(&words), Err(Error::Internal { .. })), "nothing ran");
        words[0] = 77;
        let half = take(&words).unwrap_err().to_string();
        assert!(half.contains("query 1 carries stamp 0x0 instead of 0x4d"), "{half}");
        words[update_states::REPORT_WORDS as usize] = 77;
        take(&words).unwrap();
        words[0] = 76;
        assert!(take(&words).is_err(), "the answers of the run before");
    }
}
