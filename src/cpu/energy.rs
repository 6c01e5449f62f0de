//! The energy of a state under a rule that has one, in `f64`.

use crate::cpu::pack::Query;
use crate::cpu::plan::Plan;
use crate::cpu::tiles::Scored;
use crate::cpu::update::Updates;
use crate::exact::energy::{constant, entmax_term};
use crate::exact::solved::Solved;
use crate::exact::unnormalized::Unnormalized;
use crate::rule::{Rule, Separation, Similarity};

impl Plan<'_> {
    /// The energy of a state under a rule that has one, at the beta of the first update; the memory has `stored`
    /// patterns. Infinite where a softmax has no pattern left.
    pub fn energy(&self, query: &Query, updates: &Updates<'_>, stored: usize) -> f64 {
        let rule = self.view.engine.rule;
        let beta = updates.beta(query.position, 1);
        let query = &match query.beta == beta {
            true => query.clone(),
            false => Query { beta, ..query.clone() },
        };
        let of_field = updates
            .field(query.position)
            .map_or(0.0, |field| field.iter().zip(&query.exact).map(|(field, x)| f64::from(*field) * x).sum::<f64>());
        if let Some(weigher) = Unnormalized::of(&rule, beta) {
            let add = |sum: &mut f64, one: &Scored<'_>| *sum += weigher.potential(one.score);
            let pooled: f64 = self.view.pass(query, false, |_| 0.0, add).iter().sum();
            return in_f64(-f64::from(rule.update.gain) * pooled / beta - of_field);
        }
        let solution = self.solve(query);
        let pooled = match (solution.solved, rule.separation) {
            (Solved::Nothing, Separation::Softmax) => return f64::INFINITY,
            // log(e^max sum), where the sum of softmax1 includes its one.
            (Solved::Softmax { max, sum, .. }, _) => max + sum.ln(),
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
            // No pattern left, or a softmax1 so far below zero that only the one remains; a rule of topk has no energy.
            _ => 0.0,
        };
        let mut energy = -pooled / beta - of_field;
        if rule.similarity == Similarity::Dot {
            // Of the stored keys, masked or not: a constant of the memory.
            let alive = self.view.usable.alive;
            let largest = self.view.norm_bounds_of(|index| alive.is_none_or(|alive| alive[index])).norm;
            let rule = Rule { beta: beta as f32, ..rule };
            energy += 0.5 * query.norm * query.norm + constant(&rule, stored) + 0.5 * largest * largest;
        }
        energy
    }
}

/// An energy of potentials, which may be beyond `f64`: the largest number of its sign then.
fn in_f64(energy: f64) -> f64 {
    if energy.is_nan() { f64::MAX } else { energy.clamp(f64::MIN, f64::MAX) + 0.0 }
}
