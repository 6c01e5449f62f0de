//! One batch from queries to answers: queries in blocks, patterns in splits, both in parallel; splits merge in order.

use rayon::prelude::*;

use super::merge::{Candidates, Keep, Online, Scan};
use super::separation::{Entry, SOFTMAX_WINDOW, Weigher, passes, softmax};
use super::similarity::{self, Query};
use super::walk::{Extent, TASKS, TILE, Usable, Walk, split};
use super::{Engine, projection, report};
use crate::device::DeviceInfo;
use crate::explanation::Explanation;
use crate::retrieval::{Retrieval, RetrieveOptions, Status, Top};
use crate::rule::Separation;
use crate::store::stride;

/// Queries that share each tile of patterns while it is in cache.
const QUERY_BLOCK: usize = 8;
/// Entries of all candidate lists together that a few blocks at work may hold: 32 MiB.
const ENTRIES: usize = 1 << 21;
/// The most entries of one list.
const LIST: usize = 1 << 16;
/// Where rough scores may be off by more than this, softmax goes by candidates, whose scores are exact.
const ROUGH: f64 = 1e-3;

/// How one retrieval goes about its work; nothing in it depends on the queries beside the one at hand.
pub(super) struct Plan<'a> {
    pub walk: Walk<'a>,
    /// The rule's separation, a top-k of everything being softmax.
    pub separation: Separation,
    extent: Extent,
    splits: usize,
    /// The most entries of one query's list in one split.
    limit: usize,
}

/// One separation of the scores of one query.
pub(super) struct Solved {
    pub weigher: Weigher,
    /// Every entry with weight, by rising index, where they are few enough to list.
    pub support: Option<Vec<Entry>>,
    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows, where the scan had them at hand.
    sums: Option<(Vec<f64>, Vec<f64>)>,
}

/// How a query is scanned.
enum Way {
    Online,
    List(Keep),
    Passes,
}

/// One query on its way.
struct Recall {
    /// The state.
    query: Query,
    /// The state before the last update.
    before: Option<Query>,
    /// `sum_i p_i k_i` before clamping.
    sum: Vec<f64>,
    value: Option<Vec<f64>>,
    weigher: Weigher,
    /// Whether the weigher comes from exact scores.
    exact: bool,
    steps: u32,
    change: f32,
    trace: Vec<f64>,
    done: bool,
}

/// The answer to one query.
struct Answer {
    recall: Recall,
    energy: Option<f64>,
    report: report::Report,
}

impl Engine {
    /// All patterns, as a retrieval with these restrictions sees them.
    pub(super) fn walk<'a>(&'a self, options: &'a RetrieveOptions, alive: Option<&'a [bool]>) -> Walk<'a> {
        let patterns = self.windows.len();
        let usable = Usable { alive, mask: options.mask.as_ref(), patterns };
        Walk { engine: self, usable, range: 0..patterns }
    }

    /// Retrieves for checked queries (`batch x dim`, tight) from a memory that is not empty; `alive` is false where a
    /// pattern has been removed.
    pub fn retrieve(&self, queries: &[f32], options: &RetrieveOptions, alive: Option<&[bool]>) -> Retrieval {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let walk = self.walk(options, alive);
        let patterns = walk.usable.patterns;
        let plan = Plan::new(walk, options.plan_for.unwrap_or(batch));
        let stored = alive.map_or(patterns, |alive| alive.iter().filter(|alive| **alive).count());
        let answers: Vec<Vec<Answer>> = queries
            .par_chunks(QUERY_BLOCK * layout.dim)
            .enumerate()
            .map(|(block, rows)| plan.block(block * QUERY_BLOCK, rows, options, stored))
            .collect();

        let top = options.top.min(patterns);
        let mut retrieval = Retrieval {
            batch,
            dim: layout.dim,
            value_dim: layout.output_dim(),
            patterns,
            clamped: options.clamp.is_some(),
            energy: options.energy.then(Vec::new),
            energy_trace: options.trace.then(Vec::new),
            top: (options.top > 0).then(|| Top { k: top, ..Top::default() }),
            statistics: options.statistics.then(Vec::new),
            ..Retrieval::default()
        };
        let mut rows: Vec<Option<Vec<f32>>> = Vec::with_capacity(batch);
        for Answer { recall, energy, report } in answers.into_iter().flatten() {
            let narrow = |row: &[f64], columns: usize, to: &mut Vec<f32>| {
                to.extend(row[..columns].iter().map(|v| *v as f32));
            };
            narrow(&recall.query.exact, layout.dim, &mut retrieval.state);
            narrow(recall.value.as_ref().unwrap_or(&recall.sum), layout.output_dim(), &mut retrieval.output);
            retrieval.steps.push(recall.steps);
            retrieval.change.push(recall.change);
            retrieval.converged.push(recall.change <= options.tolerance());
            retrieval.status.push(if recall.weigher.is_nothing() { Status::NothingLeft } else { Status::Answered });
            retrieval.energy.iter_mut().zip(energy).for_each(|(all, energy)| all.push(energy));
            if let Some(traces) = &mut retrieval.energy_trace {
                traces.push(recall.trace);
            }
            if let Some(top) = &mut retrieval.top {
                top.index.extend(report.top.iter().map(|(index, _)| *index));
                top.weight.extend(report.top.iter().map(|(_, weight)| *weight));
            }
            retrieval.statistics.iter_mut().zip(report.statistics).for_each(|(all, one)| all.push(one));
            rows.push(report.weights);
        }
        let asked = options.weight_queries(batch);
        if !matches!(options.weights, crate::retrieval::WeightsOf::None) {
            retrieval.weights =
                Some(asked.iter().flat_map(|b| rows[*b].as_deref().unwrap_or_default()).copied().collect());
        }
        retrieval
    }
}

impl Engine {
    /// Explains a retrieval of `batch` queries, at least one.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions, device: DeviceInfo) -> Explanation {
        let plan = Plan::new(self.walk(options, None), options.plan_for.unwrap_or(batch));
        let patterns = plan.walk.usable.patterns;
        let rows_per_split = patterns.div_ceil(plan.splits).next_multiple_of(TILE);
        Explanation {
            device,
            batch,
            patterns,
            regime: "blocks of queries over splits of the patterns, both in parallel, tile by tile",
            query_block: QUERY_BLOCK,
            chunk: TILE,
            rows_per_split,
            splits: plan.splits,
            windows: self.windows.filled().count(),
            submissions: 0,
            workspace_bytes: (batch.div_ceil(QUERY_BLOCK).min(8) * QUERY_BLOCK * plan.splits * plan.limit) as u64
                * size_of::<Entry>() as u64,
            kernels: Vec::new(),
        }
    }
}

impl<'a> Plan<'a> {
    pub fn new(walk: Walk<'a>, batch: usize) -> Self {
        let patterns = walk.range.len();
        let blocks = batch.div_ceil(QUERY_BLOCK).max(1);
        let splits = (TASKS / blocks).clamp(1, patterns.div_ceil(TILE).max(1));
        let separation = match walk.engine.rule.separation {
            Separation::TopK { k } if k >= patterns => Separation::Softmax,
            separation => separation,
        };
        let extent = walk.extent(|index| walk.usable.alive.is_none_or(|alive| alive[index]));
        let limit = (ENTRIES / (blocks.min(8) * QUERY_BLOCK * splits)).min(LIST);
        Self { walk, separation, extent, splits, limit }
    }

    fn way(&self, query: &Query) -> Way {
        let rule = self.walk.engine.rule;
        let rough = similarity::rough_error(rule.similarity, query, self.extent.norm);
        // The bias is added in f64; where it is huge, its rounding is what makes scores differ.
        let slack = 2.0 * (f64::from(rule.beta).abs() * rough + 1e-15 * self.extent.bias);
        match self.separation {
            Separation::Softmax | Separation::Softmax1 if slack <= 2.0 * ROUGH => Way::Online,
            Separation::Softmax | Separation::Softmax1 => Way::List(Keep::Within(SOFTMAX_WINDOW + slack)),
            Separation::Sparsemax => Way::List(Keep::Within(1.0 + slack)),
            Separation::Entmax { alpha } => Way::List(Keep::Within(1.0 / (f64::from(alpha) - 1.0) + slack)),
            Separation::TopK { k } if k > self.limit / 2 => Way::Passes,
            Separation::TopK { k } => Way::List(Keep::Largest { k, slack }),
        }
    }

    /// Solves the separation for each query, with the weighted sums where the scan has them anyway.
    fn scan(&self, queries: &[&Query], values: bool) -> Vec<Solved> {
        let empty: Vec<Option<Scan>> = queries
            .iter()
            .map(|query| match self.way(query) {
                Way::Online => {
                    let layout = self.walk.engine.layout;
                    let columns = if values { layout.value_stride() } else { 0 };
                    Some(Scan::Online(Online::new(layout.key_stride(), columns)))
                }
                Way::List(keep) => Some(Scan::Candidates(Candidates::new(keep, self.limit))),
                Way::Passes => None,
            })
            .collect();
        let mut merged = empty.clone();
        if empty.iter().any(Option::is_some) {
            let splits: Vec<Vec<Option<Scan>>> = split(&self.walk.range, self.splits)
                .into_par_iter()
                .map(|range| self.scan_split(queries, empty.clone(), &range, values))
                .collect();
            for scans in splits {
                for (into, scan) in merged.iter_mut().zip(scans) {
                    if let (Some(into), Some(scan)) = (into, scan) {
                        into.merge(scan);
                    }
                }
            }
        }
        queries.par_iter().zip(merged).map(|(query, scan)| self.settle(query, scan)).collect()
    }

    fn scan_split(
        &self,
        queries: &[&Query],
        mut scans: Vec<Option<Scan>>,
        range: &std::ops::Range<usize>,
        values: bool,
    ) -> Vec<Option<Scan>> {
        let engine = self.walk.engine;
        let (stride, similarity) = (engine.layout.key_stride(), engine.rule.similarity);
        let mut scores = vec![0.0f64; queries.len() * TILE];
        let mut weights = [0.0f32; TILE];
        // Values are read only where some query sums them on the way.
        let values = values && scans.iter().any(|scan| matches!(scan, Some(Scan::Online(_))));
        self.walk.tiles(range, values, |tile| {
            for (t, key) in tile.keys.chunks_exact(stride).enumerate() {
                for (q, query) in queries.iter().enumerate() {
                    scores[q * TILE + t] = if self.walk.usable.keeps(query.position, tile.first + t) {
                        let rough = similarity::rough(similarity, query, key, tile.norms[t]);
                        self.walk.score(rough, tile.bias[t])
                    } else {
                        f64::NEG_INFINITY
                    };
                }
            }
            let count = tile.bias.len();
            for (scan, scores) in scans.iter_mut().zip(scores.chunks_exact(TILE)) {
                if let Some(scan) = scan {
                    scan.tile(tile, &scores[..count], &mut weights[..count]);
                }
            }
        });
        scans
    }

    /// What a scan of all patterns makes of one query.
    fn settle(&self, query: &Query, scan: Option<Scan>) -> Solved {
        match scan {
            Some(Scan::Online(online)) => {
                let plus_one = self.separation == Separation::Softmax1;
                let weigher = softmax::weigher(online.max, online.sum, plus_one);
                let total = match weigher {
                    Weigher::Softmax { sum, .. } => sum,
                    // The sums are zeros.
                    _ => 1.0,
                };
                let mean = |sums: Vec<f32>| sums.into_iter().map(|sum| f64::from(sum) / total).collect();
                Solved { weigher, support: None, sums: Some((mean(online.keys), mean(online.values))) }
            }
            Some(Scan::Candidates(mut candidates)) if !candidates.overflow => {
                candidates.prune();
                let mut entries = candidates.entries;
                entries.par_chunks_mut(1024).for_each(|entries| {
                    let mut scratch = Vec::new();
                    for entry in entries {
                        entry.0 = self.walk.score_of(query, entry.1, &mut scratch);
                    }
                });
                let weigher = Weigher::solve(self.separation, &mut entries);
                entries.retain(|entry| weigher.weight(*entry) > 0.0);
                entries.sort_unstable_by_key(|entry| entry.1);
                Solved { weigher, support: Some(entries), sums: None }
            }
            _ => {
                let weigher = passes::solve(&self.walk, query, self.separation);
                Solved { weigher, support: None, sums: None }
            }
        }
    }

    /// Solves one query exactly.
    pub fn solve(&self, query: &Query) -> Solved {
        match self.way(query) {
            Way::List(_) => self.scan(&[query], false).pop().expect("one answer to one query"),
            _ => self.settle(query, None),
        }
    }

    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows.
    fn sums(&self, query: &Query, solved: &Solved, values: bool) -> (Vec<f64>, Vec<f64>) {
        let engine = self.walk.engine;
        let layout = engine.layout;
        let empty = || (vec![0.0; layout.key_stride()], vec![0.0; if values { layout.value_stride() } else { 0 }]);
        let mut sums = empty();
        if let Some(support) = &solved.support {
            let mut scratch = Vec::new();
            for entry in support {
                let weight = solved.weigher.weight(*entry);
                let (block, at) = engine.windows.row(entry.1);
                projection::add(&mut sums.0, weight, block.keys.load(at, 1, layout.key_stride(), &mut scratch));
                if let (Some(rows), true) = (&block.values, values) {
                    projection::add(&mut sums.1, weight, rows.load(at, 1, layout.value_stride(), &mut scratch));
                }
            }
            return sums;
        }
        let splits = self.walk.pass(
            query,
            values,
            |_| empty(),
            |(keys, values), pattern| {
                let weight = solved.weigher.weight((pattern.score, pattern.index));
                if weight > 0.0 {
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
        sums
    }

    /// The answers to one block of queries, the first of which is number `first` of the batch.
    fn block(&self, first: usize, rows: &[f32], options: &RetrieveOptions, stored: usize) -> Vec<Answer> {
        let engine = self.walk.engine;
        let (dim, has_values) = (engine.layout.dim, engine.layout.value_dim.is_some());
        let mut recalls: Vec<Recall> = rows
            .chunks_exact(dim)
            .enumerate()
            .map(|(q, row)| {
                let mut exact: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                exact.resize(stride(dim), 0.0);
                let query = Query::new(first + q, exact);
                let trace = if options.trace { vec![self.energy(&query, stored)] } else { Vec::new() };
                Recall {
                    query,
                    before: None,
                    sum: Vec::new(),
                    value: None,
                    weigher: Weigher::Nothing,
                    exact: false,
                    steps: 0,
                    change: 0.0,
                    trace,
                    done: false,
                }
            })
            .collect();
        for step in 1..=options.max_steps() {
            let mut active: Vec<&mut Recall> = recalls.iter_mut().filter(|recall| !recall.done).collect();
            if active.is_empty() {
                break;
            }
            let values = has_values && step == options.max_steps();
            let queries: Vec<&Query> = active.iter().map(|recall| &recall.query).collect();
            let solved = self.scan(&queries, values);
            let sums: Vec<(Solved, Vec<f64>, Vec<f64>)> = queries
                .par_iter()
                .zip(solved)
                .map(|(query, mut solved)| {
                    let (keys, values) = solved.sums.take().unwrap_or_else(|| self.sums(query, &solved, values));
                    (solved, keys, values)
                })
                .collect();
            for (recall, (solved, keys, sums)) in active.iter_mut().zip(sums) {
                recall.exact = !matches!(self.way(&recall.query), Way::Online);
                let row = &rows[(recall.query.position - first) * dim..][..dim];
                let known = options.clamp.as_ref().map(|clamp| &clamp[recall.query.position * dim..][..dim]);
                recall.advance(&solved, keys, row, known);
                recall.value = values.then_some(sums);
                if options.trace {
                    recall.trace.push(self.energy(&recall.query, stored));
                }
                recall.done = options.stops_early() && recall.change <= options.tolerance();
            }
        }
        // Queries that stopped before the cap have their outputs from their own last step, as if it had been the cap.
        let late: Vec<&mut Recall> = recalls.iter_mut().filter(|recall| has_values && recall.value.is_none()).collect();
        let befores: Vec<&Query> = late.iter().filter_map(|recall| recall.before.as_ref()).collect();
        let outputs: Vec<Vec<f64>> = if befores.is_empty() {
            Vec::new()
        } else {
            let solved = self.scan(&befores, true);
            befores
                .par_iter()
                .zip(solved)
                .map(|(query, mut solved)| solved.sums.take().unwrap_or_else(|| self.sums(query, &solved, true)).1)
                .collect()
        };
        for (recall, output) in late.into_iter().zip(outputs) {
            recall.value = Some(output);
        }
        recalls.into_par_iter().map(|recall| self.answer(recall, options, stored)).collect()
    }

    fn answer(&self, recall: Recall, options: &RetrieveOptions, stored: usize) -> Answer {
        let energy = options.energy.then(|| match recall.trace.last() {
            Some(energy) => *energy,
            None => self.energy(&recall.query, stored),
        });
        let wanted = report::Wanted {
            statistics: options.statistics,
            top: options.top.min(self.walk.usable.patterns),
            weights: options.weighs(recall.query.position),
        };
        let report = match &recall.before {
            Some(before) if wanted.anything() => {
                let weigher =
                    if recall.exact { recall.weigher } else { passes::solve(&self.walk, before, self.separation) };
                report::report(&self.walk, before, weigher, wanted, stored)
            }
            _ => report::Report::default(),
        };
        Answer { recall, energy, report }
    }
}

impl Recall {
    /// Takes the step to the weighted sum of keys, but for the coordinates that are `known` to be as in `row`.
    fn advance(&mut self, solved: &Solved, sum: Vec<f64>, row: &[f32], known: Option<&[bool]>) {
        let mut next = sum.clone();
        // A query with nothing left has the state zero, which says so in every coordinate.
        if let (Some(known), false) = (known, solved.weigher.is_nothing()) {
            for ((next, known), given) in next.iter_mut().zip(known).zip(row) {
                if *known {
                    *next = f64::from(*given);
                }
            }
        }
        let moves = self.query.exact.iter().zip(&next).map(|(x, next)| (next - x).abs());
        self.change = moves.fold(0.0, f64::max) as f32;
        let next = Query::new(self.query.position, next);
        self.before = Some(std::mem::replace(&mut self.query, next));
        self.sum = sum;
        self.weigher = solved.weigher;
        self.steps += 1;
    }
}
