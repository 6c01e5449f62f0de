//! Reports on the weights of one query, by one more exact pass over the patterns.

use crate::cpu::pack::Query;
use crate::cpu::parts::{ranges_of, taken};
use crate::cpu::tiles::{PatternView, TASKS, split};
use crate::exact::entry::{Entry, keep_best};
use crate::exact::solved::Solved;
use crate::retrieval::report::Statistics;

/// What to report.
pub(super) struct Request<'a> {
    pub statistics: bool,
    pub top: usize,
    /// The row for the weights of all patterns, of zeros.
    pub weights: Option<&'a mut [f32]>,
}

impl Request<'_> {
    pub fn anything(&self) -> bool {
        self.statistics || self.top > 0 || self.weights.is_some()
    }
}

/// What was reported.
#[derive(Default)]
pub(super) struct Report {
    pub statistics: Option<Statistics>,
    /// Positions and weights; `None` beyond the last usable pattern.
    pub top: Vec<(Option<usize>, f32)>,
}

/// The report of one split.
#[derive(Default)]
struct Part<'a> {
    support: u32,
    entropy: f64,
    largest: f64,
    top: Vec<Entry>,
    /// The weights of its patterns in the row.
    weights: Option<&'a mut [f32]>,
}

/// Reports on the scores of `query`, for which `solved` has been solved; `stored` patterns are in the memory.
pub(super) fn report(
    view: &PatternView<'_>,
    query: &Query,
    solved: Solved,
    request: Request<'_>,
    stored: usize,
) -> Report {
    // The splits of `pass`.
    let splits = split(&view.range, TASKS);
    let rows = ranges_of(request.weights, &splits);
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
            if request.top > 0 {
                part.top.push(entry);
                if part.top.len() >= 4 * request.top + 64 {
                    keep_best(&mut part.top, request.top);
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
    keep_best(&mut total.top, request.top);
    let mut top: Vec<(Option<usize>, f32)> =
        total.top.iter().map(|entry| (Some(entry.1), solved.weight(*entry) as f32)).collect();
    top.resize(request.top, (None, 0.0));
    let perplexity = if total.support == 0 { 0.0 } else { total.entropy.exp() as f32 };
    let statistics =
        request.statistics.then(|| Statistics::new(total.support, perplexity, total.largest as f32, stored));
    Report { statistics, top }
}
