//! The energy of a state (Ramsauer et al. 2021; Hu et al. 2023 and 2024; Santos et al. 2024), in `f64`.

use super::retrieve::Plan;
use super::separation::Solved;
use super::similarity::Query;
use crate::rule::{Separation, Similarity};

impl Plan<'_> {
    /// The energy of a state under a rule that has one; `stored` patterns are in the memory. Infinite where a softmax
    /// has nothing left.
    pub fn energy(&self, query: &Query, stored: usize) -> f64 {
        let rule = self.view.engine.rule;
        let beta = f64::from(rule.beta);
        let solution = self.solve(query);
        let pooled = match (solution.solved, rule.separation) {
            (Solved::Nothing, Separation::Softmax) => return f64::INFINITY,
            // log(e^max sum), where the sum of softmax1 has its one in it.
            (Solved::Softmax { max, sum, .. }, _) => max + sum.ln(),
            // Nothing left, or a softmax1 so far below zero that the one is all there is.
            (Solved::Nothing, _) => 0.0,
            (solved @ Solved::Entmax { threshold, .. }, _) => {
                let alpha = threshold.alpha();
                // <p, z> + H(p), H(p) = sum (p - p^alpha) / (alpha (alpha-1)).
                let term = |score: f64, index: usize| {
                    let p = solved.weight((score, index));
                    if p > 0.0 { p * score + (p - p.powf(alpha)) / (alpha * (alpha - 1.0)) } else { 0.0 }
                };
                match &solution.support {
                    Some(support) => support.iter().map(|entry| term(entry.0, entry.1)).sum(),
                    None => {
                        let splits =
                            self.view.pass(query, false, |_| 0.0, |sum, one| *sum += term(one.score, one.index));
                        splits.iter().sum()
                    }
                }
            }
            (Solved::TopK { .. }, _) => unreachable!("the energy of topk is refused before"),
        };
        let mut energy = -pooled / beta;
        if rule.similarity == Similarity::Dot {
            // Of the stored keys, masked or not: a constant of the memory.
            let alive = self.view.usable.alive;
            let largest = self.view.norm_bounds_of(|index| alive.is_none_or(|alive| alive[index])).norm;
            let patterns = match rule.separation {
                Separation::Softmax => stored as f64,
                Separation::Softmax1 => stored as f64 + 1.0,
                _ => 1.0,
            };
            energy += 0.5 * query.norm * query.norm + patterns.ln() / beta + 0.5 * largest * largest;
        }
        energy
    }
}
