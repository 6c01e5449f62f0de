//! Several memories in one loop, straight from the definition.

use super::problem::Problem;
use crate::factor::Factor;

/// One update of a network: vector `target` becomes what its memory makes of the product of `factors`.
#[derive(Clone, Debug)]
pub struct NetworkUpdate<'a> {
    /// The memory, with its rule.
    pub problem: Problem<'a>,
    /// The number of the vector that is updated.
    pub target: usize,
    /// The vectors whose product is the query.
    pub factors: Vec<Factor>,
    /// Whether coordinates are pairs `(re, im)`, and products those of complex numbers.
    pub complex: bool,
}

/// Updates that go over the same vectors, again and again.
#[derive(Clone, Debug)]
pub struct NetworkProblem<'a> {
    /// The updates of one iteration, in order.
    pub updates: Vec<NetworkUpdate<'a>>,
    /// Whether each sees the vectors as they were before the iteration, in place of the newest.
    pub together: bool,
}

/// What the reference computes for one query of a network.
#[derive(Clone, Debug)]
pub struct NetworkAnswer {
    /// The vectors after the last iteration.
    pub vectors: Vec<Vec<f64>>,
    /// Iterations done.
    pub steps: u32,
    /// The largest change of a coordinate in the last iteration.
    pub change: f64,
    /// Whether an update of the last iteration had no pattern left.
    pub nothing_left: bool,
}

/// The product of vectors, coordinate by coordinate, or pair by pair.
fn product(vectors: &[Vec<f64>], update: &NetworkUpdate<'_>) -> Vec<f64> {
    let first = update.factors[0];
    let mut product = vectors[first.vector].clone();
    if update.complex && first.conjugated {
        product.iter_mut().skip(1).step_by(2).for_each(|im| *im = -*im);
    }
    for factor in &update.factors[1..] {
        let other = &vectors[factor.vector];
        if !update.complex {
            product.iter_mut().zip(other).for_each(|(x, y)| *x *= y);
            continue;
        }
        let sign = if factor.conjugated { -1.0 } else { 1.0 };
        for (x, y) in product.chunks_exact_mut(2).zip(other.chunks_exact(2)) {
            let (re, im) = (y[0], sign * y[1]);
            (x[0], x[1]) = (x[0] * re - x[1] * im, x[0] * im + x[1] * re);
        }
    }
    product
}

impl NetworkProblem<'_> {
    /// Iterations from `vectors` until no coordinate changes by more than `tolerance`, at most `max_steps`.
    pub fn converge(&self, vectors: &[Vec<f64>], max_steps: u32, tolerance: f64) -> NetworkAnswer {
        let mut answer = NetworkAnswer { vectors: vectors.to_vec(), steps: 0, change: 0.0, nothing_left: false };
        while answer.steps < max_steps {
            let before = answer.vectors.clone();
            (answer.change, answer.nothing_left) = (0.0, false);
            answer.steps += 1;
            for update in &self.updates {
                let seen = if self.together { &before } else { &answer.vectors };
                let query = product(seen, update);
                let step = update.problem.step(&query, &seen[update.target], answer.steps);
                answer.nothing_left |= step.local.is_empty();
                for (next, before) in step.next.iter().zip(&answer.vectors[update.target]) {
                    answer.change = answer.change.max((next - before).abs());
                }
                answer.vectors[update.target] = step.next;
            }
            if answer.change <= tolerance {
                break;
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    const BOOK: [f32; 10] = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0];

    fn update(target: usize, factors: &[usize]) -> NetworkUpdate<'static> {
        let factors = factors.iter().map(|vector| Factor { vector: *vector, conjugated: false }).collect();
        NetworkUpdate { problem: Problem::new(Rule::resonator(), 5, &BOOK), target, factors, complex: false }
    }

    #[test]
    fn two_factors_are_found_in_order_and_together() {
        // The composite of the two rows, the signs of their sum, and a start that is neither.
        let composite: Vec<f64> = (0..5).map(|c| f64::from(BOOK[c] * BOOK[5 + c])).collect();
        let vectors = [composite.clone(), vec![1.0, -1.0, 1.0, 1.0, 1.0], vec![-1.0, -1.0, 1.0, 1.0, 1.0]];
        for together in [false, true] {
            let network = NetworkProblem { updates: vec![update(1, &[0, 2]), update(2, &[0, 1])], together };
            let answer = network.converge(&vectors, 20, 0.0);
            let product: Vec<f64> = answer.vectors[1].iter().zip(&answer.vectors[2]).map(|(a, b)| a * b).collect();
            assert_eq!(product, composite, "{together}: {answer:?}");
            assert_eq!(answer.vectors[0], composite, "inputs stay");
            assert_eq!(answer.change, 0.0);
            assert!(answer.steps > 2, "{together}: {answer:?}");
        }
    }

    #[test]
    fn complex_products_are_hand_computed() {
        let vectors = [vec![1.0, 2.0, 0.0, 1.0], vec![3.0, -1.0, 0.0, 1.0]];
        let of = |conjugated: [bool; 2]| {
            let factors = (0..2).map(|vector| Factor { vector, conjugated: conjugated[vector] }).collect();
            product(&vectors, &NetworkUpdate { factors, complex: true, ..update(0, &[0]) })
        };
        assert_eq!(of([false, false]), [5.0, 5.0, -1.0, 0.0]);
        assert_eq!(of([false, true]), [1.0, 7.0, 1.0, 0.0]);
        assert_eq!(of([true, false]), [1.0, -7.0, 1.0, 0.0]);
    }
}
