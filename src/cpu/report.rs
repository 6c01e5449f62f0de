//! What the weights of one query look like, by one more exact pass over the patterns.

use super::separation::{Entry, Weigher, preferred};
use super::similarity::Query;
use super::walk::Walk;
use crate::retrieval::Statistics;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub statistics: bool,
    pub top: usize,
    pub weights: bool,
}

impl Wanted {
    pub fn anything(&self) -> bool {
        self.statistics || self.top > 0 || self.weights
    }
}

/// What was asked for.
#[derive(Default)]
pub(super) struct Report {
    pub statistics: Option<Statistics>,
    /// Positions and weights.
    pub top: Vec<(u32, f32)>,
    pub weights: Option<Vec<f32>>,
}

/// What one split adds.
#[derive(Default)]
struct Part {
    support: u32,
    entropy: f64,
    largest: f64,
    top: Vec<Entry>,
    weights: Vec<(usize, f32)>,
}

/// Keeps the `k` most preferred entries, sorted.
fn keep_best(entries: &mut Vec<Entry>, k: usize) {
    entries.sort_unstable_by(preferred);
    entries.truncate(k);
}

/// Reports on the scores of `query`, for which `weigher` has been solved; `stored` patterns are in the memory.
pub(super) fn report(walk: &Walk<'_>, query: &Query, weigher: Weigher, wanted: Wanted, stored: usize) -> Report {
    let parts = walk.pass(
        query,
        false,
        |_| Part::default(),
        |part, pattern| {
            let entry = (pattern.score, pattern.index);
            let weight = weigher.weight(entry);
            part.support += u32::from(weigher.supports(entry));
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
            if wanted.weights && weight > 0.0 {
                part.weights.push((pattern.index, weight as f32));
            }
        },
    );
    let mut total = Part::default();
    let mut weights = wanted.weights.then(|| vec![0.0; walk.usable.patterns]);
    for part in parts {
        total.support += part.support;
        total.entropy += part.entropy;
        total.largest = total.largest.max(part.largest);
        total.top.extend(part.top);
        if let Some(weights) = &mut weights {
            part.weights.into_iter().for_each(|(index, weight)| weights[index] = weight);
        }
    }
    keep_best(&mut total.top, wanted.top);
    let mut top: Vec<(u32, f32)> =
        total.top.iter().map(|entry| (entry.1 as u32, weigher.weight(*entry) as f32)).collect();
    top.resize(wanted.top, (u32::MAX, 0.0));
    let perplexity = if weigher.is_nothing() { 0.0 } else { total.entropy.exp() as f32 };
    let statistics =
        wanted.statistics.then(|| Statistics::new(total.support, perplexity, total.largest as f32, stored));
    Report { statistics, top, weights }
}
