//! What the weights of one query look like, by one more exact pass over the patterns.

use super::answers::{ranges_of, taken};
use super::separation::{Entry, Solved, preferred};
use super::similarity::Query;
use super::tiles::{PatternView, TASKS, split};
use crate::retrieval::report::Statistics;

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub statistics: bool,
    pub top: usize,
    /// Where the weights of all patterns go; zeros so far.
    pub weights: Option<&'a mut [f32]>,
}

impl Wanted<'_> {
    pub fn anything(&self) -> bool {
        self.statistics || self.top > 0 || self.weights.is_some()
    }
}

/// What was asked for.
#[derive(Default)]
pub(super) struct Report {
    pub statistics: Option<Statistics>,
    /// Positions and weights; no position where fewer patterns are left than were asked for.
    pub top: Vec<(Option<usize>, f32)>,
}

/// What one split adds.
#[derive(Default)]
struct Part<'a> {
    support: u32,
    entropy: f64,
    largest: f64,
    top: Vec<Entry>,
    /// The weights of its patterns.
    weights: Option<&'a mut [f32]>,
}

/// Keeps the `k` most preferred entries, sorted.
fn keep_best(entries: &mut Vec<Entry>, k: usize) {
    entries.sort_unstable_by(preferred);
    entries.truncate(k);
}

/// Reports on the scores of `query`, for which `solved` has been solved; `stored` patterns are in the memory.
pub(super) fn report(
    view: &PatternView<'_>,
    query: &Query,
    solved: Solved,
    wanted: Wanted<'_>,
    stored: usize,
) -> Report {
    // Those of `pass`.
    let splits = split(&view.range, TASKS);
    let rows = ranges_of(wanted.weights, &splits);
    let parts = view.pass(
        query,
        false,
        |number| (splits[number].start, Part { weights: taken(&rows, number), ..Part::default() }),
        |(first, part), pattern| {
            let entry = (pattern.score, pattern.index);
            let weight = solved.weight(entry);
            part.support += u32::from(solved.supports(entry));
            if weight > 0.0 {
                part.entropy -= weight * weight.ln();
                part.largest = part.largest.max(weight);
            }
            if wanted.top > 0 {
                part.top.push(entry);
                if part.top.len() >= 4 * wanted.top + 64 {
                    keep_best(&mut part.top, wanted.top);
                }
            }
            if let Some(weights) = &mut part.weights {
                weights[pattern.index - *first] = weight as f32;
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
    keep_best(&mut total.top, wanted.top);
    let mut top: Vec<(Option<usize>, f32)> =
        total.top.iter().map(|entry| (Some(entry.1), solved.weight(*entry) as f32)).collect();
    top.resize(wanted.top, (None, 0.0));
    let perplexity = if total.support == 0 { 0.0 } else { total.entropy.exp() as f32 };
    let statistics =
        wanted.statistics.then(|| Statistics::new(total.support, perplexity, total.largest as f32, stored));
    Report { statistics, top }
}
