//! One batch from queries to answers: queries in waves and blocks, patterns in splits, both in parallel; splits merge
//! in order. Blocks are formed again at each step, from the queries that have not stopped.

use rayon::prelude::*;

use crate::cpu::answers::{Answer, AnswerRows};
use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::plan::{MIN_QUERIES_FOR_TASKS, PANELS, Plan, QUERIES_PER_WAVE, TASKS_PER_THREAD};
use crate::cpu::query_state::QueryState;
use crate::cpu::report::{Incomplete, Request};
use crate::cpu::scan::Summed;
use crate::cpu::simd::level::vectorized;
use crate::cpu::solve::Solution;
use crate::cpu::uninit::UninitRows;
use crate::cpu::update::Updates;
use crate::cpu::weight_rows::WeightRows;
use crate::error::Result;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::{Alive, View};

impl Engine {
    /// Retrieves for checked queries (`batch x dim`, tight) from the patterns of `snapshot`, at least one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), before any work is done; those of [`Engine::check_rows`].
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        snapshot: &View,
    ) -> Result<Retrieval> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let (alive, names) = (snapshot.alive(), &snapshot.names);
        let excluded = options.per_query.exclude.as_deref().map(|ids| names.positions_of(ids));
        let mut view = self.view(options, alive);
        view.usable.exclude = excluded.as_deref();
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
        let plan = Plan::new(view, options.plan_for.unwrap_or(batch));
        let plan = Plan { top: options.listed(patterns), weights: weight_rows.as_ref(), ..plan };
        let stored = alive.map_or(patterns, Alive::count);
        let single_step = plan.fits_softmax_step(options);
        // Where no query stops early, a block needs no other: waves of one block, in little memory.
        let wave = match options.stops_early() {
            true => QUERIES_PER_WAVE,
            false if single_step && batch >= plan.block * PANELS * TASKS_PER_THREAD * rayon::current_num_threads() => {
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
            .for_each(|(number, (((rows, state), output), answer_rows))| {
                let answers = if single_step { plan.softmax_step(rows, (state, output), options) } else { None };
                let answers =
                    answers.unwrap_or_else(|| plan.wave(number * wave, rows, (state, output), options, stored));
                answer_rows.write(answers, options, names);
            });
        (retrieval.state, retrieval.output) = (state.into_vec(), output.into_vec());
        if let Some(weights) = &mut weights {
            for (first, again) in weighed.repeated() {
                weights.copy_within(first * patterns..(first + 1) * patterns, again * patterns);
            }
        }
        retrieval.weights = weights;
        self.check_rows(operation)?;
        Ok(retrieval)
    }
}

impl Plan<'_> {
    /// The answers to one wave of queries, the first of which is number `first` of the batch. States and outputs are
    /// written to the rows of `into`.
    pub fn wave(
        &self,
        first: usize,
        rows: &[f32],
        into: (&mut [f32], &mut [f32]),
        options: &RetrieveOptions,
        stored: usize,
    ) -> Vec<Answer> {
        let engine = self.view.engine;
        let (dim, has_values) = (engine.layout.dim, engine.layout.value_dim.is_some());
        let updates = Updates::new(engine.rule, dim, options);
        let mut states: Vec<QueryState> = rows
            .par_chunks_exact(dim)
            .with_min_len(if options.trace { 1 } else { MIN_QUERIES_FOR_TASKS })
            .enumerate()
            .map(|(q, row)| {
                let query = Query::of_row(first + q, updates.beta(first + q, 1), row);
                let trace = if options.trace { vec![self.energy(&query, &updates, stored)] } else { Vec::new() };
                QueryState::new(query, trace)
            })
            .collect();
        let request = Request { statistics: options.statistics, stored };
        for step in 1..=options.max_steps() {
            let mut active: Vec<&mut QueryState> = states.iter_mut().filter(|state| !state.done).collect();
            if active.is_empty() {
                break;
            }
            let next_values = updates.next_values();
            let summed =
                Summed { keys: !next_values, values: next_values || has_values && step == options.max_steps() };
            let queries: Vec<&Query> = active.iter().map(|state| &state.query).collect();
            let solutions = self.scan(&queries, summed);
            let min = if solutions.iter().all(|one| one.sums.is_some()) { MIN_QUERIES_FOR_TASKS } else { 1 };
            let sums: Vec<(Solution, Vec<f64>, Vec<f64>)> = queries
                .par_iter()
                .with_min_len(min)
                .zip(solutions)
                .map(|(query, mut solution)| {
                    let (keys, values) = solution.sums.take().unwrap_or_else(|| self.sums(query, &solution, summed));
                    (solution, keys, values)
                })
                .collect();
            active.par_iter_mut().with_min_len(MIN_QUERIES_FOR_TASKS).zip(sums).for_each(
                |(state, (solution, keys, values))| {
                    state.exact = !self.is_online(&state.query);
                    let row = &rows[(state.query.position - first) * dim..][..dim];
                    state.advance(&updates, &solution.solved, (keys, values), row);
                    state.stop(&updates, options);
                    if options.trace {
                        state.trace.push(self.energy(&state.query, &updates, stored));
                    }
                    if state.done {
                        state.report = self.report(state.query.position, &solution, request);
                    }
                },
            );
        }
        let incomplete = states.iter_mut().filter_map(|state| {
            let QueryState { before, solved, exact, report, .. } = state;
            before.as_ref().map(|query| Incomplete { query, solved: *solved, online: !*exact, report })
        });
        self.complete(incomplete.collect(), request);
        // Queries that stopped before the cap get their outputs from their own last step, as if it had been the cap.
        let late: Vec<&mut QueryState> =
            states.iter_mut().filter(|state| has_values && state.value.is_empty() && !state.is_zero()).collect();
        let states_before: Vec<&Query> = late.iter().filter_map(|state| state.before.as_ref()).collect();
        let outputs: Vec<Vec<f64>> = if states_before.is_empty() {
            Vec::new()
        } else {
            let summed = Summed { keys: false, values: true };
            let solutions = self.scan(&states_before, summed);
            states_before
                .par_iter()
                .zip(solutions)
                .map(|(query, mut solution)| {
                    solution.sums.take().unwrap_or_else(|| self.sums(query, &solution, summed)).1
                })
                .collect()
        };
        for (state, output) in late.into_iter().zip(outputs) {
            state.value = output;
        }
        self.answers(states, &updates, into, stored)
    }

    /// The answers to queries whose iterations have ended, whose states and outputs are written to the rows of `into`.
    fn answers(
        &self,
        states: Vec<QueryState>,
        updates: &Updates<'_>,
        (states_into, outputs_into): (&mut [f32], &mut [f32]),
        stored: usize,
    ) -> Vec<Answer> {
        let layout = self.view.engine.layout;
        let narrow =
            |row: &[f64], to: &mut [f32]| vectorized(|| to.iter_mut().zip(row).for_each(|(to, v)| *to = *v as f32));
        states
            .into_par_iter()
            .with_min_len(MIN_QUERIES_FOR_TASKS)
            .zip(states_into.par_chunks_exact_mut(layout.dim))
            .zip(outputs_into.par_chunks_exact_mut(layout.output_dim()))
            .map(|((mut state, state_row), output_row)| {
                state.check_output(updates, layout.output_dim());
                narrow(&state.query.exact, state_row);
                match state.output() {
                    _ if state.is_zero() => output_row.fill(0.0),
                    Some(row) => narrow(row, output_row),
                    None => output_row.copy_from_slice(state_row),
                }
                self.answer(state, updates, stored)
            })
            .collect()
    }

    /// The answer to a query whose iteration has ended.
    fn answer(&self, mut state: QueryState, updates: &Updates<'_>, stored: usize) -> Answer {
        let energy = updates.options().energy.then(|| match state.trace.last() {
            Some(energy) => *energy,
            None => self.energy(&state.query, updates, stored),
        });
        if let (Some(query), Some(top)) = (&state.before, &state.report.top) {
            let (kind, mut scratch) = (self.view.engine.rule.similarity, Vec::new());
            let similarities = top.iter().map(|(index, _)| self.view.similarity_of(query, *index, &mut scratch));
            state.report.similarities = similarities.map(|similarity| kind.measure(similarity)).collect();
        }
        Answer {
            steps: state.steps,
            change: state.change,
            converged: state.has_converged(updates),
            status: state.status,
            trace: state.trace,
            energy,
            report: state.report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::separation::streaming;
    use crate::cpu::simd::int8_panel;
    use crate::cpu::simd::level::Level;
    use crate::precision::Precision;
    use crate::rule::{Rule, Separation, Similarity};
    use crate::store::{Growth, Layout, NewRows};

    const SEPARATIONS: [Separation; 6] = [
        Separation::Softmax,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::Entmax { alpha: 1.25 },
        Separation::TopK { k: 7 },
        Separation::Step { threshold: 0.5 },
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

    /// Compares the answers of every level with those of the best.
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
        for precision in Precision::ALL {
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

    /// Memories that do not fit the second-level cache, with wide rows.
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
                // Blocks of both widths were used.
                let level = Level::best();
                for width in [2 * level.lanes(), level.panel()] {
                    assert!(blocks.contains(&width), "{width} of {blocks:?}");
                }
            }
        }
    }

    /// Thresholds that few patterns pass, none, half of them, and all.
    #[test]
    fn steps_by_bounds_are_those_of_every_score() {
        let (dim, patterns) = (22, 3000);
        for similarity in [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean] {
            let plain = engine(dim, patterns, Precision::F32, Rule::new(similarity, Separation::Softmax, 2.0));
            let default = RetrieveOptions::default();
            let view = plain.view(&default, None);
            let asked = Query::of_row(0, 2.0, &numbers(3, dim));
            let mut scores: Vec<f64> = (0..patterns).map(|i| view.score_of(&asked, i, &mut Vec::new())).collect();
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
            for (threshold, bounded) in [(scores[40], true), (1e6, false), (scores[1500], false), (-1e6, false)] {
                let threshold = threshold as f32;
                let rule = Rule::new(similarity, Separation::Step { threshold }, 2.0);
                let engines =
                    [Precision::F32, Precision::I8Exact].map(|precision| engine(dim, patterns, precision, rule));
                for batch in [1, 3, 37] {
                    let queries = numbers(3, batch * dim);
                    for options in [RetrieveOptions::default(), RetrieveOptions::default().top(5)] {
                        let of =
                            |engine: &Engine| engine.retrieve("test", &queries, &options, &View::default()).unwrap();
                        let [all, few] = engines.each_ref().map(of);
                        assert_eq!(all, few, "{rule} {batch} {options:?}");
                    }
                    let options = RetrieveOptions::default();
                    let plan = Plan::new(engines[1].view(&options, None), batch);
                    let asked: Vec<Query> =
                        queries.chunks_exact(dim).enumerate().map(|(at, row)| Query::of_row(at, 2.0, row)).collect();
                    let listed = plan.bounded(&asked.iter().collect::<Vec<_>>());
                    assert_eq!(listed[0].is_some(), bounded && (batch <= 8 || int8_panel::is_fast()), "{rule} {batch}");
                }
            }
        }
    }

    #[test]
    fn passes_weigh_as_lists_do() {
        let (dim, patterns) = (6, 900);
        let steep = [2.5, 6.0, 20.0, 1000.0, 1e6].map(|alpha| Separation::Entmax { alpha });
        for separation in SEPARATIONS.into_iter().filter(|separation| separation.is_normalized()).chain(steep) {
            let engine = engine(dim, patterns, Precision::F32, Rule::new(Similarity::Dot, separation, 0.7));
            let options = RetrieveOptions::default();
            let plan = Plan::new(engine.view(&options, None), 1);
            let query = Query::of_row(0, 0.7, &numbers(4, dim));
            let listed = plan.solve_exactly(&query);
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
