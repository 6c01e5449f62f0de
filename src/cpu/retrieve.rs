//! One batch from queries to answers: queries in blocks, patterns in splits, both in parallel; splits merge in order.
//! Blocks are made anew at each step, of the queries that have not stopped.

use std::sync::PoisonError;

use rayon::prelude::*;

use super::answers::{AnswerRows, WeightRows};
use super::merge::{Candidates, Keep, Scan};
use super::scan::{self, Into};
use super::separation::{Entry, Solved, entmax, softmax, streaming};
use super::similarity::{self, Form, Packed, Query};
use super::softmax_step::PANELS;
use super::tiles::{NormBounds, PatternView, TASKS, TILE, Usable, split};
use super::uninit::UninitRows;
use super::{Engine, projection, report};
use crate::cpu::simd::level::{Level, vectorized};
use crate::device::info::DeviceInfo;
use crate::error::Result;
use crate::explain::Explanation;
use crate::finite::all_finite;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::{Retrieval, Status};
use crate::retrieval::weight_queries::WeightQueries;
use crate::rule::Separation;
use crate::store::{Alive, View, stride};

/// Queries that go from step to step together, those that have stopped left out: many blocks, so that every core is busy.
const QUERIES_PER_WAVE: usize = 4096;
/// Entries of all candidate lists together that are at work: 32 MiB.
const TOTAL_LIST_ENTRIES: usize = 1 << 21;
/// Queries whose lists are taken to be at work at once, at the most.
const CONCURRENT_LISTS: usize = 256;
/// Patterns of a split of a panel, at the least: what is merged is worth many tiles.
const MIN_PATTERNS_PER_SPLIT: usize = 1024;
/// Tasks of each thread that leave none of them long without work.
const TASKS_PER_THREAD: usize = 2;
/// Queries for which a few rows each are not worth a task.
const MIN_QUERIES_FOR_TASKS: usize = 8;
/// The most entries of one list.
const MAX_LIST_ENTRIES: usize = 1 << 16;
/// The most entries of one list of exact scores, of which one query at a time has one for each split: 4 MiB.
const MAX_EXACT_ENTRIES: usize = 1 << 12;
/// Where approximate scores may be off by more than this, softmax goes by exact ones.
const SOFTMAX_MAX_ERROR: f64 = 1e-3;
/// Where approximate scores may be off by more than this, so does everything: lists would be long for no good reason.
const MAX_ERROR: f64 = 0.1;

/// How one retrieval goes about its work; nothing in it depends on the queries beside the one at hand.
pub(super) struct Plan<'a> {
    pub view: PatternView<'a>,
    /// The rule's separation, a top-k of everything being softmax.
    pub separation: Separation,
    norm_bounds: NormBounds,
    pub(super) level: Level,
    pub(super) form: Form,
    /// Queries of one block.
    pub(super) block: usize,
    pub(super) splits: usize,
    /// The most entries of one query's list in one split.
    limit: usize,
    /// Where weights are reported in full.
    weights: Option<&'a WeightRows<'a>>,
}

/// One separation of the scores of one query.
pub(super) struct Solution {
    pub solved: Solved,
    /// Every entry with weight, by rising index, where they are few enough to list.
    pub support: Option<Vec<Entry>>,
    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows, where the scan had them at hand.
    sums: Option<(Vec<f64>, Vec<f64>)>,
}

/// How a query is answered.
enum Method {
    /// By one scan, from approximate scores.
    Online,
    /// By the exact scores of what a scan lists.
    List,
    /// By exact scores of everything.
    Exact,
}

/// One query on its way.
struct QueryState {
    /// The state.
    query: Query,
    /// The state before the last update.
    before: Option<Query>,
    /// `sum_i p_i k_i` before clamping, where that is not the state.
    sum: Option<Vec<f64>>,
    value: Option<Vec<f64>>,
    solved: Solved,
    /// Whether the solved comes from exact scores.
    exact: bool,
    steps: u32,
    change: f32,
    trace: Vec<f64>,
    done: bool,
}

/// The answer to one query, but for its rows.
pub(super) struct Answer {
    pub steps: u32,
    pub change: f32,
    pub status: Status,
    pub trace: Vec<f64>,
    pub energy: Option<f64>,
    pub report: report::Report,
}

impl Engine {
    /// All patterns, as a retrieval with these restrictions sees them.
    pub(super) fn view<'a>(&'a self, options: &'a RetrieveOptions, alive: Option<&'a Alive>) -> PatternView<'a> {
        let patterns = self.windows.len();
        let usable = Usable { alive, mask: options.mask.as_ref(), patterns };
        PatternView { engine: self, usable, range: 0..patterns }
    }

    /// Retrieves for checked queries (`batch x dim`, tight) from the patterns of `view`, of which there is one at
    /// least.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), before any work is done.
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
    ) -> Result<Retrieval> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let (alive, names) = (view.alive(), &view.names);
        let view = self.view(options, alive);
        let patterns = view.usable.patterns;
        let mut retrieval = Retrieval::with_room(operation, &layout, batch, patterns, names, options)?;
        if batch == 0 {
            return Ok(retrieval);
        }
        let weighed = WeightQueries::new(operation, &options.weights)?;
        let mut weights = retrieval.weights.take();
        let weight_rows = match &mut weights {
            Some(weights) => Some(WeightRows::new(operation, &weighed, weights, patterns)?),
            None => None,
        };
        let plan = Plan { weights: weight_rows.as_ref(), ..Plan::new(view, options.plan_for.unwrap_or(batch)) };
        let stored = alive.map_or(patterns, Alive::count);
        let plain = plan.fits_softmax_step(options);
        // Blocks that need not be made anew go their own way, in little memory.
        let wave = match options.stops_early() {
            true => QUERIES_PER_WAVE,
            false if plain && batch >= plan.block * PANELS * TASKS_PER_THREAD * rayon::current_num_threads() => {
                plan.block * PANELS
            }
            false => plan.block,
        };
        let (columns, output_columns) = (layout.dim, layout.output_dim());
        let mut state = UninitRows::new(std::mem::take(&mut retrieval.state), batch * columns);
        let mut output = UninitRows::new(std::mem::take(&mut retrieval.output), batch * output_columns);
        queries
            .par_chunks(wave * columns)
            .zip(state.parts(wave * columns))
            .zip(output.parts(wave * output_columns))
            .zip(AnswerRows::of(operation, &mut retrieval, wave)?)
            .enumerate()
            .for_each(|(number, (((rows, state), output), slots))| {
                let plain = if plain { plan.softmax_step(rows, state, output) } else { None };
                let answers = plain.unwrap_or_else(|| plan.wave(number * wave, rows, (state, output), options, stored));
                slots.take(answers, options.tolerance(), names);
            });
        (retrieval.state, retrieval.output) = (state.whole(), output.whole());
        if let Some(weights) = &mut weights {
            for (first, again) in weighed.repeated() {
                weights.copy_within(first * patterns..(first + 1) * patterns, again * patterns);
            }
        }
        retrieval.weights = weights;
        Ok(retrieval)
    }
}

impl Engine {
    /// Explains a retrieval of `batch` queries, at least one.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions, device: DeviceInfo) -> Explanation {
        let plan = Plan::new(self.view(options, None), options.plan_for.unwrap_or(batch));
        let patterns = plan.view.usable.patterns;
        let rows_per_split = patterns.div_ceil(plan.splits).next_multiple_of(TILE);
        Explanation {
            device,
            batch,
            patterns,
            tuning: String::new(),
            regime: "blocks of queries over splits of the patterns, both in parallel, tile by tile",
            query_block: plan.block,
            chunk: TILE,
            rows_per_split,
            splits: plan.splits,
            windows: self.windows.filled().count(),
            submissions: 0,
            workspace_bytes: (batch.min(CONCURRENT_LISTS) * plan.splits * plan.limit * size_of::<Entry>()) as u64,
            kernels: Vec::new(),
        }
    }
}

impl<'a> Plan<'a> {
    pub fn new(view: PatternView<'a>, batch: usize) -> Self {
        Self::on(Level::best(), view, batch)
    }

    fn on(level: Level, view: PatternView<'a>, batch: usize) -> Self {
        let patterns = view.range.len();
        let lanes = level.lanes();
        // A panel costs as much as if all its lanes were queries, a row about four times as much as a lane.
        let form = if batch <= lanes / 4 { Form::Rows } else { Form::Panel };
        let (narrow, wide, least) = match form {
            Form::Rows => (batch.max(1), batch.max(1), TILE),
            Form::Panel => (2 * lanes, level.panel(), MIN_PATTERNS_PER_SPLIT),
        };
        let splits = (TASKS / batch.div_ceil(narrow).max(1)).clamp(1, patterns.div_ceil(least).max(1));
        // What a query is answered goes by the splits, and not by how many share its block: that may go by the threads, each
        // of which needs a block, whose splits are merged by one.
        let (blocks, threads) = (batch.div_ceil(wide), rayon::current_num_threads());
        let block = if blocks < threads || blocks * splits < TASKS_PER_THREAD * threads { narrow } else { wide };
        let separation = match view.engine.rule.separation {
            Separation::TopK { k } if k >= patterns => Separation::Softmax,
            separation => separation,
        };
        let norm_bounds = match view.usable.alive {
            None => view.norm_bounds(),
            Some(alive) => view.norm_bounds_of(|index| alive[index]),
        };
        let limit = (TOTAL_LIST_ENTRIES / (batch.clamp(1, CONCURRENT_LISTS) * splits)).min(MAX_LIST_ENTRIES);
        Self { view, separation, norm_bounds, level, form, block, splits, limit, weights: None }
    }

    /// Twice the most by which the approximate scores of a query may be off, so that it bounds how far they may be out of order;
    /// `None` where there are none.
    fn margin(&self, query: &Query) -> Option<f64> {
        let rule = self.view.engine.rule;
        let NormBounds { norm, bias } = self.norm_bounds;
        similarity::is_well_scaled(rule.similarity, rule.beta, query, norm, bias).then(|| {
            let lanes = self.level.lanes();
            2.0 * similarity::approximate_error(self.form, lanes, rule.similarity, rule.beta, query, norm, bias)
        })
    }

    fn method(&self, query: &Query) -> Method {
        let Some(margin) = self.margin(query).filter(|margin| *margin <= 2.0 * MAX_ERROR) else {
            return Method::Exact;
        };
        match self.separation {
            Separation::Softmax | Separation::Softmax1 if margin <= 2.0 * SOFTMAX_MAX_ERROR => Method::Online,
            Separation::TopK { k } if k > self.limit / 2 => Method::Exact,
            _ => Method::List,
        }
    }

    /// Whether one scan answers a query, from approximate scores.
    pub(super) fn is_online(&self, query: &Query) -> bool {
        matches!(self.method(query), Method::Online)
    }

    /// What may have weight, were scores out of order by up to `margin`.
    fn keep(&self, margin: f64) -> Keep {
        match self.separation {
            Separation::Softmax | Separation::Softmax1 => Keep::Within(softmax::window(self.view.range.len()) + margin),
            Separation::Sparsemax => Keep::Within(1.0 + margin),
            Separation::Entmax { alpha } => Keep::Within(entmax::power(f64::from(alpha)) + margin),
            Separation::TopK { k } => Keep::Largest { k, margin },
        }
    }

    /// Solves the separation for each query, with the weighted sums where the scan has them anyway.
    fn scan(&self, queries: &[&Query], values: bool) -> Vec<Solution> {
        let (mut online, mut listed) = (Vec::new(), Vec::new());
        for (number, query) in queries.iter().enumerate() {
            match self.method(query) {
                Method::Online => online.push(number),
                Method::List => listed.push(number),
                Method::Exact => {}
            }
        }
        let blocks: Vec<&[usize]> = online.chunks(self.block).chain(listed.chunks(self.block)).collect();
        let scanned: Vec<Vec<Option<Solution>>> = blocks
            .par_iter()
            .map(|numbers| {
                let queries: Vec<&Query> = numbers.iter().map(|number| queries[*number]).collect();
                self.scan_block(&queries, values)
            })
            .collect();
        let mut solution: Vec<Option<Solution>> = queries.iter().map(|_| None).collect();
        for (number, one) in blocks.into_iter().flatten().zip(scanned.into_iter().flatten()) {
            solution[*number] = one;
        }
        // The others one after the other, each by every core: their lists may be long.
        for (query, one) in queries.iter().zip(&mut solution) {
            if one.is_none() {
                *one = Some(self.exact(query));
            }
        }
        solution.into_iter().map(|one| one.expect("every query is solution")).collect()
    }

    /// Scans for a block of queries that go the same way; `None` for those whose lists or sums overflow.
    fn scan_block(&self, queries: &[&Query], values: bool) -> Vec<Option<Solution>> {
        let similarity = self.view.engine.rule.similarity;
        let block = Packed::new(self.form, similarity, self.level.lanes(), queries);
        let into = || match self.method(queries[0]) {
            Method::Online => Into::Sums { values },
            _ => Into::Lists(
                queries
                    .iter()
                    .map(|query| Candidates::new(self.keep(self.margin(query).unwrap_or(f64::INFINITY)), self.limit))
                    .collect(),
            ),
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
        let least = if matches!(merged.first(), Some(Scan::Online(_))) { MIN_QUERIES_FOR_TASKS } else { 1 };
        let settle = |(query, scan): (&&Query, Scan)| self.settle(query, scan);
        queries.par_iter().with_min_len(least).zip(merged).map(settle).collect()
    }

    /// What a scan of all patterns makes of one query; `None` where its list or its sums have overflowed.
    fn settle(&self, query: &Query, scan: Scan) -> Option<Solution> {
        match scan {
            // Sums that left `f32` although the means do not: `exact` has them in `f64`.
            Scan::Online(online) if !vectorized(|| all_finite(&online.keys) && all_finite(&online.values)) => None,
            Scan::Online(online) => {
                let plus_one = self.separation == Separation::Softmax1;
                let solved = softmax::solved(online.max, online.sum, plus_one);
                let share = solved.share();
                // Zero has one sign, whatever was skipped on the way.
                let mean =
                    |sums: Vec<f32>| vectorized(|| sums.iter().map(|sum| f64::from(*sum) * share + 0.0).collect());
                Some(Solution { solved, support: None, sums: Some((mean(online.keys), mean(online.values))) })
            }
            Scan::Candidates(list) if list.overflow => None,
            Scan::Candidates(mut list) => {
                list.prune();
                let mut entries = list.entries;
                self.prune(&mut entries, self.margin(query).unwrap_or(f64::INFINITY));
                entries.par_chunks_mut(1024).for_each(|entries| {
                    let mut scratch = Vec::new();
                    for entry in entries {
                        entry.0 = self.view.score_of(query, entry.1, &mut scratch);
                    }
                });
                Some(self.listed(entries))
            }
        }
    }

    /// Drops entries of a sparse rule that cannot have weight, were scores out of order by up to `margin`: a threshold moves
    /// by no more than the scores do.
    fn prune(&self, entries: &mut Vec<Entry>, margin: f64) {
        if !matches!(self.separation, Separation::Sparsemax | Separation::Entmax { .. }) {
            return;
        }
        if let Solved::Entmax { threshold, .. } = Solved::solve(self.separation, entries) {
            // Room for the rounding of the threshold itself.
            let threshold_margin = (threshold.alpha() - 1.0) * margin + 1e-9;
            entries.retain(|entry| threshold.gap(entry.0) > -threshold_margin);
        }
    }

    /// Solves one query whose list holds exact scores of all that can have weight.
    fn listed(&self, mut entries: Vec<Entry>) -> Solution {
        let solved = Solved::solve(self.separation, &mut entries);
        entries.retain(|entry| solved.weight(*entry) > 0.0);
        entries.sort_unstable_by_key(|entry| entry.1);
        Solution { solved, support: Some(entries), sums: None }
    }

    /// Solves one query from exact scores: from a list of up to `MAX_EXACT_ENTRIES` a split, or by further passes where that is too
    /// short.
    fn exact(&self, query: &Query) -> Solution {
        let keep = self.keep(0.0);
        if !matches!(keep, Keep::Largest { k, .. } if k > MAX_EXACT_ENTRIES / 2) {
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
                return self.listed(list.entries);
            }
        }
        let solved = streaming::solve(&self.view, query, self.separation);
        Solution { solved, support: None, sums: None }
    }

    /// Solves one query exactly.
    pub fn solve(&self, query: &Query) -> Solution {
        match self.method(query) {
            Method::List => self.scan(&[query], false).pop().expect("one answer to one query"),
            _ => self.exact(query),
        }
    }

    /// `sum_i p_i k_i` and `sum_i p_i v_i` in padded rows.
    fn sums(&self, query: &Query, solution: &Solution, values: bool) -> (Vec<f64>, Vec<f64>) {
        let engine = self.view.engine;
        let layout = engine.layout;
        let empty = || (vec![0.0; layout.key_stride()], vec![0.0; if values { layout.value_stride() } else { 0 }]);
        let mut sums = empty();
        if let Some(support) = &solution.support {
            let mut scratch = Vec::new();
            for entry in support {
                let weight = solution.solved.weight(*entry);
                let (block, at) = engine.windows.row(entry.1);
                projection::add(&mut sums.0, weight, block.keys.load(at, 1, layout.key_stride(), &mut scratch));
                if let (Some(rows), true) = (&block.values, values) {
                    projection::add(&mut sums.1, weight, rows.load(at, 1, layout.value_stride(), &mut scratch));
                }
            }
            return sums;
        }
        let splits = self.view.pass(
            query,
            values,
            |_| empty(),
            |(keys, values), pattern| {
                let weight = solution.solved.weight((pattern.score, pattern.index));
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

    /// The answers to one wave of queries, the first of which is number `first` of the batch; their states and outputs go
    /// into the rows of `into`.
    pub(super) fn wave(
        &self,
        first: usize,
        rows: &[f32],
        into: (&mut [f32], &mut [f32]),
        options: &RetrieveOptions,
        stored: usize,
    ) -> Vec<Answer> {
        let (states_into, outputs_into) = into;
        let engine = self.view.engine;
        let (dim, has_values) = (engine.layout.dim, engine.layout.value_dim.is_some());
        let mut states: Vec<QueryState> = rows
            .par_chunks_exact(dim)
            .with_min_len(if options.trace { 1 } else { MIN_QUERIES_FOR_TASKS })
            .enumerate()
            .map(|(q, row)| {
                let mut exact: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                exact.resize(stride(dim), 0.0);
                let query = Query::new(first + q, exact);
                let trace = if options.trace { vec![self.energy(&query, stored)] } else { Vec::new() };
                QueryState {
                    query,
                    before: None,
                    sum: None,
                    value: None,
                    solved: Solved::Nothing,
                    exact: false,
                    steps: 0,
                    change: 0.0,
                    trace,
                    done: false,
                }
            })
            .collect();
        for step in 1..=options.max_steps() {
            let mut active: Vec<&mut QueryState> = states.iter_mut().filter(|state| !state.done).collect();
            if active.is_empty() {
                break;
            }
            let values = has_values && step == options.max_steps();
            let queries: Vec<&Query> = active.iter().map(|state| &state.query).collect();
            let solution = self.scan(&queries, values);
            let least = if solution.iter().all(|one| one.sums.is_some()) { MIN_QUERIES_FOR_TASKS } else { 1 };
            let sums: Vec<(Solution, Vec<f64>, Vec<f64>)> = queries
                .par_iter()
                .with_min_len(least)
                .zip(solution)
                .map(|(query, mut solution)| {
                    let (keys, values) = solution.sums.take().unwrap_or_else(|| self.sums(query, &solution, values));
                    (solution, keys, values)
                })
                .collect();
            active.par_iter_mut().with_min_len(MIN_QUERIES_FOR_TASKS).zip(sums).for_each(
                |(state, (solution, keys, sums))| {
                    state.exact = !self.is_online(&state.query);
                    let row = &rows[(state.query.position - first) * dim..][..dim];
                    let known = options.clamp.as_ref().map(|clamp| &clamp[state.query.position * dim..][..dim]);
                    state.advance(&solution, keys, row, known);
                    state.value = values.then_some(sums);
                    if options.trace {
                        state.trace.push(self.energy(&state.query, stored));
                    }
                    state.done = options.stops_early() && state.change <= options.tolerance();
                },
            );
        }
        // Queries that stopped before the cap have their outputs from their own last step, as if it had been the cap.
        let late: Vec<&mut QueryState> =
            states.iter_mut().filter(|state| has_values && state.value.is_none()).collect();
        let befores: Vec<&Query> = late.iter().filter_map(|state| state.before.as_ref()).collect();
        let outputs: Vec<Vec<f64>> = if befores.is_empty() {
            Vec::new()
        } else {
            let solution = self.scan(&befores, true);
            befores
                .par_iter()
                .zip(solution)
                .map(|(query, mut solution)| {
                    solution.sums.take().unwrap_or_else(|| self.sums(query, &solution, true)).1
                })
                .collect()
        };
        for (state, output) in late.into_iter().zip(outputs) {
            state.value = Some(output);
        }
        let layout = engine.layout;
        let narrow =
            |row: &[f64], to: &mut [f32]| vectorized(|| to.iter_mut().zip(row).for_each(|(to, v)| *to = *v as f32));
        states
            .into_par_iter()
            .with_min_len(MIN_QUERIES_FOR_TASKS)
            .zip(states_into.par_chunks_exact_mut(layout.dim))
            .zip(outputs_into.par_chunks_exact_mut(layout.output_dim()))
            .map(|((state, state_row), output_row)| {
                narrow(&state.query.exact, state_row);
                match state.value.as_ref().or(state.sum.as_ref()) {
                    Some(row) => narrow(row, output_row),
                    None => output_row.copy_from_slice(state_row),
                }
                self.answer(state, options, stored)
            })
            .collect()
    }

    fn answer(&self, state: QueryState, options: &RetrieveOptions, stored: usize) -> Answer {
        let energy = options.energy.then(|| match state.trace.last() {
            Some(energy) => *energy,
            None => self.energy(&state.query, stored),
        });
        let row = self.weights.and_then(|rows| rows.row(state.query.position));
        let mut row = row.map(|row| row.lock().unwrap_or_else(PoisonError::into_inner));
        let wanted = report::Wanted {
            statistics: options.statistics,
            top: options.top.min(self.view.usable.patterns),
            weights: row.as_mut().map(|row| &mut row[..]),
        };
        let report = match &state.before {
            Some(before) if wanted.anything() => {
                let solved =
                    if state.exact { state.solved } else { streaming::solve(&self.view, before, self.separation) };
                report::report(&self.view, before, solved, wanted, stored)
            }
            _ => report::Report::default(),
        };
        Answer {
            steps: state.steps,
            change: state.change,
            status: if state.solved.is_nothing() { Status::NothingLeft } else { Status::Answered },
            trace: state.trace,
            energy,
            report,
        }
    }
}

impl Answer {
    /// The answer after one step, of which nothing more is reported.
    pub(super) fn of_step(solved: Solved, change: f32) -> Self {
        let status = if solved.is_nothing() { Status::NothingLeft } else { Status::Answered };
        let (trace, report) = (Vec::new(), report::Report::default());
        Self { steps: 1, change, status, trace, energy: None, report }
    }
}

impl QueryState {
    /// Takes the step to the weighted sum of keys, but for the coordinates that are `known` to be as in `row`.
    fn advance(&mut self, solution: &Solution, sum: Vec<f64>, row: &[f32], known: Option<&[bool]>) {
        let mut next = sum;
        self.sum = None;
        // A query with nothing left has the state zero, which says so in every coordinate.
        if let (Some(known), false) = (known, solution.solved.is_nothing()) {
            self.sum = Some(next.clone());
            for ((next, known), given) in next.iter_mut().zip(known).zip(row) {
                if *known {
                    *next = f64::from(*given);
                }
            }
        }
        self.change = narrow(largest_move(&self.query.exact, &next));
        let next = Query::new(self.query.position, next);
        self.before = Some(std::mem::replace(&mut self.query, next));
        self.solved = solution.solved;
        self.steps += 1;
    }
}

/// A change as it is reported: the difference of two numbers of `f32` may be larger than any.
pub(super) fn narrow(change: f64) -> f32 {
    change.min(f64::from(f32::MAX)) as f32
}

/// `max |a - b|`, in lanes, for speed; rows are whole vectors of four.
fn largest_move(a: &[f64], b: &[f64]) -> f64 {
    vectorized(|| {
        let mut lanes = [0.0f64; 4];
        for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
            for lane in 0..4 {
                let move_of = (a[lane] - b[lane]).abs();
                lanes[lane] = if move_of > lanes[lane] { move_of } else { lanes[lane] };
            }
        }
        lanes.into_iter().fold(0.0, f64::max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::rule::{Rule, Similarity};
    use crate::store::{Growth, Layout, NewRows};

    const SEPARATIONS: [Separation; 5] = [
        Separation::Softmax,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::Entmax { alpha: 1.25 },
        Separation::TopK { k: 7 },
    ];

    fn numbers(seed: usize, length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    fn engine(dim: usize, patterns: usize, precision: Precision, rule: Rule) -> Engine {
        let layout = Layout { dim, value_dim: Some(5), precision, bias: false, max_rows: 1000 };
        let mut engine = Engine::new(layout, rule);
        let (keys, values) = (numbers(1, patterns * dim), numbers(2, patterns * 5));
        engine.reserve(patterns, Growth::Doubling).unwrap();
        engine.add(&NewRows { keys: &keys, values: Some(&values), bias: None }).unwrap();
        engine
    }

    /// Holds the answers of every level against those of the best.
    fn levels_agree(engine: &Engine, batch: usize, what: &str) {
        let (dim, patterns) = (engine.layout.dim, engine.windows.len());
        let (options, queries) = (RetrieveOptions::steps(2), numbers(3, batch * dim));
        let all = Level::available().into_iter().map(|level| {
            let plan = Plan::on(level, engine.view(&options, None), batch);
            let (mut state, mut output) = (vec![0.0; batch * dim], vec![0.0; batch * 5]);
            plan.wave(0, &queries, (&mut state, &mut output), &options, patterns);
            state.extend(output);
            (level, state)
        });
        let all: Vec<(Level, Vec<f32>)> = all.collect();
        for (level, rows) in &all {
            for (got, expected) in rows.iter().zip(&all[0].1) {
                assert!((got - expected).abs() < 2e-6, "{level:?} {what} B {batch}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn every_level_retrieves_the_same() {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            for similarity in [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan] {
                for separation in SEPARATIONS {
                    let engine = engine(22, 2100, precision, Rule::new(similarity, separation, 1.5));
                    for batch in [1, 3, 37] {
                        levels_agree(&engine, batch, &format!("{precision:?} {similarity:?} {separation:?}"));
                    }
                }
            }
        }
    }

    /// Memories that the second cache does not hold, of rows that few tiles have.
    #[test]
    fn every_level_retrieves_the_same_of_wide_rows() {
        for separation in SEPARATIONS {
            let engine = engine(3001, 150, Precision::F32, Rule::new(Similarity::Cosine, separation, 1.5));
            for batch in [1, 2, 4, 5, 37, 70] {
                levels_agree(&engine, batch, &format!("{separation:?}"));
            }
        }
    }

    #[test]
    fn how_many_threads_there_are_changes_no_bit() {
        let dim = 22;
        for (patterns, values) in [(900, None), (900, Some(5)), (2100, Some(5))] {
            for separation in SEPARATIONS {
                let layout = Layout { dim, value_dim: values, precision: Precision::F32, bias: false, max_rows: 1000 };
                let mut engine = Engine::new(layout, Rule::new(Similarity::Dot, separation, 1.5));
                let (keys, rows) = (numbers(1, patterns * dim), numbers(2, patterns * 5));
                engine.reserve(patterns, Growth::Doubling).unwrap();
                engine.add(&NewRows { keys: &keys, values: values.map(|_| &rows[..]), bias: None }).unwrap();
                let mut blocks = Vec::new();
                for batch in [31, 64, 65, 130, 300] {
                    let (options, queries) = (RetrieveOptions::steps(1), numbers(3, batch * dim));
                    let all = [1, 2, 5, 40].map(|threads| {
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| {
                            blocks.push(Plan::new(engine.view(&options, None), batch).block);
                            engine.retrieve("test", &queries, &options, &View::default()).unwrap()
                        })
                    });
                    let [first, others @ ..] = &all;
                    for other in others {
                        assert_eq!(first.output, other.output, "{separation:?} N {patterns} B {batch}");
                        assert_eq!(first.state, other.state, "{separation:?} N {patterns} B {batch}");
                    }
                }
                // That they were answered in blocks of every width there is.
                let level = Level::best();
                for width in [2 * level.lanes(), level.panel()] {
                    assert!(blocks.contains(&width), "{width} of {blocks:?}");
                }
            }
        }
    }

    #[test]
    fn passes_weigh_as_lists_do() {
        let (dim, patterns) = (6, 900);
        let steep = [2.5, 6.0, 20.0, 1000.0, 1e6].map(|alpha| Separation::Entmax { alpha });
        for separation in SEPARATIONS.into_iter().chain(steep) {
            let engine = engine(dim, patterns, Precision::F32, Rule::new(Similarity::Dot, separation, 0.7));
            let options = RetrieveOptions::default();
            let plan = Plan::new(engine.view(&options, None), 1);
            let mut exact: Vec<f64> = numbers(4, dim).into_iter().map(f64::from).collect();
            exact.resize(stride(dim), 0.0);
            let query = Query::new(0, exact);
            let listed = plan.exact(&query);
            let passes = streaming::solve(&plan.view, &query, separation);
            let support = listed.support.expect("so few patterns are listed");
            assert!(!support.is_empty());
            let mut sum = 0.0;
            for entry in &support {
                sum += passes.weight(*entry);
                let (list, pass) = (listed.solved.weight(*entry), passes.weight(*entry));
                assert!((list - pass).abs() < 1e-12, "{separation:?}: {list} and {pass}");
            }
            assert!((sum - 1.0).abs() < 1e-12, "{separation:?}: {sum}");
        }
    }
}
