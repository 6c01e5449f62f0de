//! Networks: every update of an iteration for all queries that go on, one memory after the other.

use rayon::prelude::*;

use crate::answer::Answer;
use crate::cpu::answers::narrow;
use crate::cpu::background::in_background;
use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::plan::{MIN_QUERIES_FOR_TASKS, Plan, QUERIES_PER_WAVE};
use crate::cpu::query_state::largest_move;
use crate::cpu::scan::Summed;
use crate::cpu::solve::Solution;
use crate::cpu::update::Updates;
use crate::error::Result;
use crate::factor::Factor;
use crate::retrieval::network::{NetworkRequest, NetworkStates, NetworkStep};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Status;
use crate::room::room;
use crate::store::{View, stride};

/// The vectors of one query, and how far it has come.
struct Vectors {
    position: usize,
    /// Padded to the stride of a key.
    vectors: Vec<Vec<f64>>,
    /// Those that updates read: as they were before the iteration, where updates go together.
    before: Vec<Vec<f64>>,
    steps: u32,
    change: f64,
    status: Status,
    done: bool,
    /// The vectors after the last update whose number is a power of two, and that number.
    saved: Option<(u32, Vec<Vec<f64>>)>,
    /// After how many iterations vectors are known to come back.
    period: Option<u32>,
}

/// One update of every iteration.
struct Member<'a> {
    step: &'a NetworkStep,
    plan: Plan<'a>,
    updates: Updates<'a>,
}

/// [`network`] in the background.
pub(crate) fn begin(
    operation: &'static str,
    request: NetworkRequest,
    starts: Vec<Vec<f32>>,
    engines: Vec<(Engine, View)>,
    options: &RetrieveOptions,
) -> Result<Answer<NetworkStates>> {
    let options = options.try_clone(operation)?;
    let compute = move || network(operation, &request, starts, &engines, &options);
    in_background(operation, compute)
}

/// Iterates vectors from `starts`, `batch x dim` each, by steps that recall from `engines`, one for each.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory); those of [`Engine::check_rows`].
pub(crate) fn network(
    operation: &'static str,
    request: &NetworkRequest,
    starts: Vec<Vec<f32>>,
    engines: &[(Engine, View)],
    options: &RetrieveOptions,
) -> Result<NetworkStates> {
    let (dim, batch) = (request.dim, request.batch);
    let members: Vec<Member<'_>> = engines
        .iter()
        .zip(&request.steps)
        .map(|((engine, view), step)| Member {
            step,
            plan: Plan::new(engine.view(options, view.alive()), options.plan_for.unwrap_or(batch).max(1)),
            updates: Updates::new(engine.rule, dim, options),
        })
        .collect();
    let mut states = NetworkStates {
        vectors: starts,
        steps: room(operation, "steps", batch)?,
        change: room(operation, "changes", batch)?,
        status: room(operation, "statuses", batch)?,
    };
    for first in (0..batch).step_by(QUERIES_PER_WAVE) {
        let wave = first..batch.min(first + QUERIES_PER_WAVE);
        let load = |position: usize| Vectors::load(position, dim, &states.vectors);
        let mut queries: Vec<Vectors> = wave.into_par_iter().map(load).collect();
        for step in 1..=options.max_steps() {
            let mut active: Vec<&mut Vectors> = queries.iter_mut().filter(|query| !query.done).collect();
            if active.is_empty() {
                break;
            }
            iterate(&mut active, &members, request.together, step, options);
        }
        for query in queries {
            for (to, from) in states.vectors.iter_mut().zip(&query.vectors) {
                let row = &mut to[query.position * dim..][..dim];
                row.iter_mut().zip(from).for_each(|(to, x)| *to = *x as f32);
            }
            states.steps.push(query.steps);
            states.change.push(narrow(query.change));
            states.status.push(query.status);
        }
    }
    engines.iter().try_for_each(|(engine, _)| engine.check_rows(operation))?;
    Ok(states)
}

/// One iteration of the queries that go on.
fn iterate(active: &mut [&mut Vectors], members: &[Member<'_>], together: bool, step: u32, options: &RetrieveOptions) {
    for query in active.iter_mut() {
        (query.steps, query.change) = (step, 0.0);
        if query.status == Status::NothingLeft {
            query.status = Status::Answered;
        }
        if together {
            query.before.clone_from(&query.vectors);
        }
    }
    for member in members {
        member.update(active, together, step);
    }
    let may_cycle = members.iter().all(|member| member.updates.may_cycle());
    active.par_iter_mut().with_min_len(MIN_QUERIES_FOR_TASKS).for_each(|query| query.stop(options, may_cycle));
}

impl Member<'_> {
    fn update(&self, active: &mut [&mut Vectors], together: bool, step: u32) {
        let Self { step: NetworkStep { target, factors, complex }, plan, updates } = self;
        let products: Vec<Query> = active
            .par_iter()
            .with_min_len(MIN_QUERIES_FOR_TASKS)
            .map(|query| {
                let product = product(query.seen(together), factors, *complex);
                Query::new(query.position, updates.beta(query.position, step), product)
            })
            .collect();
        let queries: Vec<&Query> = products.iter().collect();
        let summed = Summed { keys: !updates.next_values(), values: updates.next_values() };
        let solutions = plan.scan(&queries, summed);
        active.par_iter_mut().with_min_len(MIN_QUERIES_FOR_TASKS).zip(queries).zip(solutions).for_each(
            |((query, product), solution)| {
                query.advance(*target, (plan, updates), (product, solution, summed), together);
            },
        );
    }
}

impl Vectors {
    fn load(position: usize, dim: usize, vectors: &[Vec<f32>]) -> Self {
        let load = |vector: &Vec<f32>| {
            let mut row: Vec<f64> = vector[position * dim..][..dim].iter().map(|x| f64::from(*x)).collect();
            row.resize(stride(dim), 0.0);
            row
        };
        Self {
            position,
            vectors: vectors.iter().map(load).collect(),
            before: Vec::new(),
            steps: 0,
            change: 0.0,
            status: Status::Answered,
            done: false,
            saved: None,
            period: None,
        }
    }

    /// The vectors that updates read.
    fn seen(&self, together: bool) -> &[Vec<f64>] {
        if together { &self.before } else { &self.vectors }
    }

    /// Vector `target` becomes what `solution`, of the query `product`, makes of it.
    fn advance(
        &mut self,
        target: usize,
        (plan, updates): (&Plan<'_>, &Updates<'_>),
        (product, mut solution, summed): (&Query, Solution, Summed),
        together: bool,
    ) {
        let (keys, values) = solution.sums.take().unwrap_or_else(|| plan.sums(product, &solution, summed));
        let mut next = if summed.values { values } else { keys };
        let exact = self.seen(together)[target].clone();
        if solution.solved.is_nothing() {
            self.status = if self.status == Status::Answered { Status::NothingLeft } else { self.status };
            next.fill(0.0);
        } else {
            // The norm of the state before plays no part.
            let before = Query { position: self.position, beta: product.beta, exact, norm: 0.0 };
            if !updates.end(&mut next, &solution.solved, (&[], &before), self.steps) {
                self.status = Status::OutOfRange;
                next.fill(0.0);
            }
        }
        self.change = self.change.max(largest_move(&self.vectors[target], &next));
        self.vectors[target] = next;
    }

    /// Decides whether the last iteration was the last of all.
    fn stop(&mut self, options: &RetrieveOptions, may_cycle: bool) {
        if self.status == Status::OutOfRange {
            self.vectors.iter_mut().for_each(|vector| vector.fill(0.0));
            (self.change, self.done) = (f64::MAX, true);
            return;
        }
        if options.stops_early() && self.change <= f64::from(options.tolerance()) {
            self.done = true;
            return;
        }
        if !may_cycle {
            return;
        }
        if let (None, Some((step, vectors))) = (self.period, &self.saved)
            && *vectors == self.vectors
        {
            self.period = Some(self.steps - step);
        }
        if self.steps.is_power_of_two() && self.period.is_none() {
            self.saved = Some((self.steps, self.vectors.clone()));
        }
        // The vectors that the last iteration of all would give.
        if self.period.is_some_and(|period| (options.max_steps() - self.steps).is_multiple_of(period)) {
            (self.status, self.done) = (Status::Cycle, true);
        }
    }
}

/// The product of vectors, coordinate by coordinate, or pair by pair.
fn product(vectors: &[Vec<f64>], factors: &[Factor], complex: bool) -> Vec<f64> {
    let (first, rest) = (factors[0], &factors[1..]);
    let mut product = vectors[first.vector].clone();
    if first.conjugated {
        product.as_chunks_mut::<2>().0.iter_mut().for_each(|[_, im]| *im = -*im);
    }
    for factor in rest {
        let other = &vectors[factor.vector];
        if !complex {
            product.iter_mut().zip(other).for_each(|(x, y)| *x *= y);
            continue;
        }
        let sign = if factor.conjugated { -1.0 } else { 1.0 };
        for ([re, im], y) in product.as_chunks_mut::<2>().0.iter_mut().zip(other.as_chunks::<2>().0) {
            let [other_re, other_im] = [y[0], sign * y[1]];
            (*re, *im) = (*re * other_re - *im * other_im, *re * other_im + *im * other_re);
        }
    }
    product
}
