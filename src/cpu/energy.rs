//! The energy of a state under a rule that has one, in `f64`.

use crate::cpu::pack::Query;
use crate::cpu::plan::Plan;
use crate::cpu::tiles::Scored;
use crate::exact::energy::{constant, entmax_term};
use crate::exact::solved::Solved;
use crate::rule::{Separation, Similarity};

impl Plan<'_> {
    /// The energy of a state under a rule that has one; the memory has `stored` patterns. Infinite where a softmax has
    /// no pattern left.
    pub fn energy(&self, query: &Query, stored: usize) -> f64 {
        let rule = self.view.engine.rule;
        let solution = self.solve(query);
        let pooled = match (solution.solved, rule.separation) {
            (Solved::Nothing, Separation::Softmax) => return f64::INFINITY,
            // log(e^max sum), where the sum of softmax1 includes its one.
            (Solved::Softmax { max, sum, .. }, _) => max + sum.ln(),
            // No pattern left, or a softmax1 so far below zero that only the one remains.
            (Solved::Nothing, _) => 0.0,
            (solved @ Solved::Entmax { threshold, .. }, _) => {
                let alpha = threshold.alpha();
                match &solution.support {
                    Some(support) => support.iter().map(|entry| entmax_term(&solved, alpha, *entry)).sum(),
                    None => {
                        let add = |sum: &mut f64, one: &Scored<'_>| {
                            *sum += entmax_term(&solved, alpha, (one.score, one.index));
                        };
                        self.view.pass(query, false, |_| 0.0, add).iter().sum()
                    }
                }
            }
            (Solved::TopK { .. }, _) => unreachable!("a rule of topk has no energy"),
        };
        let mut energy = -pooled / f64::from(rule.beta);
        if rule.similarity == Similarity::Dot {
            // Of the stored keys, masked or not: a constant of the memory.
            let alive = self.view.usable.alive;
            let largest = self.view.norm_bounds_of(|index| alive.is_none_or(|alive| alive[index])).norm;
            energy += 0.5 * query.norm * query.norm + constant(&rule, stored) + 0.5 * largest * largest;
        }
        energy
    }
}
