//! Resonator networks: a codebook for each factor, factors in order or together.

use attractor::network::{Network, Product};
use attractor::rule::Zero;
use attractor::{Memory, RetrieveOptions, Rule};

use super::file::{Failure, Golden};
use super::{Allowed, On, Outcome, signs, wide};

/// Composites to factorize.
struct Problems {
    /// Coordinates.
    dim: usize,
    /// `B x d`.
    composite: Vec<f32>,
    /// The first estimate of each factor: `d`, or `B x d`.
    start: Vec<Vec<f32>>,
    /// Whether all factors move at once.
    together: bool,
}

/// Where factors are after some iterations.
struct Estimates {
    /// `B x d` of each factor.
    states: Vec<Vec<f32>>,
    /// Iterations of each problem.
    steps: Vec<u32>,
    /// Whether the last one changed nothing.
    rested: Vec<bool>,
}

/// Factorizes the composites: for so many iterations, or until one changes nothing.
pub fn factorize(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([factors, size, dim], books) = golden.sides::<3>("books")?;
    let ([batch, _], _) = golden.sides::<2>("composite")?;
    let composite = golden.shaped("composite", &[batch, dim])?.floats();
    let (order, zero) = (golden.text("factors").unwrap_or_default(), golden.text("zero").unwrap_or_default());
    let together = match order {
        "in order" => false,
        "together" => true,
        _ => return Err(Failure::Case(format!("metadata `factors` is {order:?}, and must be in order or together"))),
    };
    let zero = match zero {
        "plus one" => Zero::Plus,
        "zero" => Zero::Zero,
        "keep" | "keeps" => Zero::Keep,
        _ => return Err(Failure::Case(format!("metadata `zero` is {zero:?}, and must be plus one, zero or keep"))),
    };
    if factors < 2 {
        return Err(Failure::Case("a resonator network has at least 2 factors".into()));
    }
    let books: Vec<Vec<f32>> = books.floats().chunks_exact(size * dim).map(<[f32]>::to_vec).collect();
    let start = match golden.has("start") {
        false => books.iter().map(|book| sign_of_sum(book, dim)).collect(),
        true => {
            let start = golden.tensor("start")?;
            match start.shape[..] {
                [f, d] if [f, d] == [factors, dim] => start.floats().chunks_exact(dim).map(<[f32]>::to_vec).collect(),
                [b, f, d] if [b, f, d] == [batch, factors, dim] => by_factor(&start.floats(), factors, dim),
                _ => {
                    let expected = format!("tensor `start` is not {factors} x {dim} or {batch} x {factors} x {dim}");
                    return Err(Failure::Case(expected));
                }
            }
        }
    };
    let rule = Rule::resonator().then(signs(zero));
    let memories = books.iter().map(|book| on.memory(rule, dim, book)).collect::<Result<Vec<_>, _>>()?;
    let problems = Problems { dim, composite, start, together };
    let mut outcome = Outcome::new(format!("resonator network, {factors} factors {order}"));
    for memory in &memories {
        outcome.used(memory, batch);
    }
    for name in golden.names().filter(|name| name.starts_with("after_")) {
        let steps = name["after_".len()..].parse().ok().filter(|steps| *steps > 0);
        let steps = steps.ok_or_else(|| Failure::Case(format!("tensor `{name}` names no count of iterations")))?;
        let expected = golden.shaped(name, &[batch, factors, dim])?;
        let estimates = iterate(&problems, &memories, &RetrieveOptions::steps(steps))?;
        outcome.compare(name, &wide(&by_problem(&estimates.states, dim)), expected, Allowed::Equal)?;
    }
    if golden.has("iterations") {
        at_rest(golden, &problems, &memories, &books, &mut outcome)?;
    }
    if outcome.comparisons.is_empty() {
        return Err(Failure::Case("there is no tensor `iterations` or `after_` with a count".into()));
    }
    Ok(outcome)
}

/// Iterates until nothing changes, and compares iterations and states.
fn at_rest(
    golden: &Golden,
    problems: &Problems,
    memories: &[Memory],
    books: &[Vec<f32>],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let (factors, dim) = (memories.len(), problems.dim);
    let batch = problems.composite.len() / dim;
    let expected = golden.shaped("iterations", &[batch])?;
    let most = expected.numbers.iter().fold(1.0f64, |most, count| most.max(*count));
    // What comes after the last iteration of any problem is not compared.
    let max_steps = golden.count("max_steps")?.unwrap_or(most as u32);
    // Coordinates move by 1 at least.
    let mut estimates = iterate(problems, memories, &RetrieveOptions::converge(max_steps, 0.5))?;
    let iterations = (0..batch).map(|b| match estimates.rested[b] {
        true => f64::from(estimates.steps[b]),
        false if expected.numbers[b] == 0.0 => 0.0,
        // One that comes back to a state stops as soon as that is known, and would go on.
        false => f64::from(max_steps),
    });
    outcome.compare("iterations", &iterations.collect::<Vec<_>>(), expected, Allowed::Equal)?;
    if golden.has("states") {
        let states = golden.shaped("states", &[batch, factors, dim])?;
        for (states, book) in estimates.states.iter_mut().zip(books) {
            for state in states.chunks_exact_mut(dim) {
                orient(state, book);
            }
        }
        outcome.compare("states", &wide(&by_problem(&estimates.states, dim)), states, Allowed::Equal)?;
    }
    Ok(())
}

/// Iterates from the start as `options` say.
fn iterate(problems: &Problems, memories: &[Memory], options: &RetrieveOptions) -> Result<Estimates, Failure> {
    let mut network = Network::new(problems.dim);
    let composite = network.vector();
    let factors: Vec<_> = memories.iter().map(|_| network.vector()).collect();
    for (factor, memory) in factors.iter().zip(memories) {
        let others = factors.iter().filter(|other| *other != factor);
        network.update(*factor, memory, others.fold(Product::from(composite), |product, other| product.times(*other)));
    }
    if problems.together {
        network.together();
    }
    let mut start = vec![&problems.composite[..]];
    start.extend(problems.start.iter().map(Vec::as_slice));
    let found = network.retrieve_blocking(&start, options)?;
    let states = factors.iter().map(|factor| found.state(*factor).to_vec()).collect();
    Ok(Estimates { states, steps: found.steps.clone(), rested: found.converged.clone() })
}

/// The signs of the sum of a book, with 0 as 1.
fn sign_of_sum(book: &[f32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; dim];
    for row in book.chunks_exact(dim) {
        for (sum, number) in sum.iter_mut().zip(row) {
            *sum += f64::from(*number);
        }
    }
    sum.iter().map(|sum| if *sum >= 0.0 { 1.0 } else { -1.0 }).collect()
}

/// Negates a state whose nearest row of the book, by the magnitude of the cosine, is opposite to it: the package does
/// so as it returns. Rows of a book are of one length.
fn orient(state: &mut [f32], book: &[f32]) {
    let mut best = 0.0f64;
    for row in book.chunks_exact(state.len()) {
        let dot: f64 = row.iter().zip(&*state).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        if dot.abs() > best.abs() {
            best = dot;
        }
    }
    if best < 0.0 {
        for number in state {
            *number = -*number;
        }
    }
}

/// `B x F x d` as `B x d` of each factor.
fn by_factor(numbers: &[f32], factors: usize, dim: usize) -> Vec<Vec<f32>> {
    let of = |factor: usize| numbers.chunks_exact(dim).skip(factor).step_by(factors).flatten().copied().collect();
    (0..factors).map(of).collect()
}

/// `B x d` of each factor as `B x F x d`.
fn by_problem(states: &[Vec<f32>], dim: usize) -> Vec<f32> {
    let batch = states.first().map_or(0, |state| state.len() / dim);
    let rows = (0..batch).flat_map(|b| states.iter().map(move |state| &state[b * dim..(b + 1) * dim]));
    rows.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_problems_change_places() {
        let numbers: Vec<f32> = (0u8..12).map(f32::from).collect();
        let factors = by_factor(&numbers, 3, 2);
        assert_eq!(factors[1], [2.0, 3.0, 8.0, 9.0]);
        assert_eq!(by_problem(&factors, 2), numbers);
    }

    #[test]
    fn states_are_turned_to_the_nearest_row() {
        let book = [1.0, 1.0, 1.0, 1.0, -1.0, 1.0];
        assert_eq!(sign_of_sum(&book, 3), [1.0, 1.0, 1.0]);
        let turned = |mut state: [f32; 3]| {
            orient(&mut state, &book);
            state
        };
        assert_eq!(turned([-1.0, -1.0, -1.0]), [1.0, 1.0, 1.0]);
        assert_eq!(turned([1.0, -1.0, 1.0]), [1.0, -1.0, 1.0]);
    }
}
