//! What ends an update, straight from its definition.

use super::{Problem, potential, separate};
use crate::draw::{moving_block, uniform};
use crate::rule::{Activation, Separation, Zero};

/// How patterns count in one update.
pub(super) struct Coupling {
    /// The weights of the sums, times `divisor`.
    pub weights: Vec<f64>,
    /// `T`, how much of a coordinate is its own, times `divisor`.
    pub of_self: f64,
    /// What the sums are divided by in the end, and not their terms: sums of integers that are 0 come out so.
    pub divisor: f64,
}

impl Problem<'_> {
    /// The weights for `scores` of update number `step`, without the self-coupling where the rule says so.
    pub(super) fn self_coupling(&self, scores: &[f64], step: u32) -> Coupling {
        let (separation, beta) = (self.rule.separation, self.beta_of(step));
        if !self.rule.update.remove_self {
            return Coupling { weights: separate(separation, scores), of_self: 0.0, divisor: 1.0 };
        }
        if separation == Separation::Softmax {
            let weights = separate(separation, scores);
            let of_self = if weights.iter().any(|p| *p > 0.0) { beta.tanh() } else { 0.0 };
            return Coupling { weights, of_self, divisor: 1.0 };
        }
        // Potentials of powers as they are before they are divided.
        let f = |z: f64| match separation {
            Separation::Power { n } => z.powi(n as i32 + 1),
            Separation::Rectified { n } => z.max(0.0).powi(n as i32 + 1),
            _ => potential(separation, z),
        };
        let divisor = match separation {
            Separation::Power { n } | Separation::Rectified { n } => f64::from(n + 1),
            _ => 1.0,
        };
        let mut coupling = Coupling { weights: Vec::new(), of_self: 0.0, divisor };
        for &z in scores {
            if z == f64::NEG_INFINITY {
                coupling.weights.push(0.0);
                continue;
            }
            let (up, down) = (f(z + 2.0 * beta), f(z - 2.0 * beta));
            coupling.weights.push((up - down) / (4.0 * beta));
            coupling.of_self += (f64::midpoint(up, down) - f(z)) / (2.0 * beta);
        }
        coupling
    }

    /// `h`, from the weighted sums `y` of the state `x`, not yet divided.
    pub(super) fn local(&self, y: &[f64], coupling: &Coupling, x: &[f64]) -> Vec<f64> {
        let (gain, carry) = (f64::from(self.rule.update.gain), f64::from(self.rule.update.carry));
        let field = |c: usize| self.field.map_or(0.0, |field| f64::from(field[c]));
        let sum = |c: usize| (y[c] - coupling.of_self * x[c]) / coupling.divisor;
        (0..self.dim).map(|c| gain * sum(c) + carry * x[c] + field(c)).collect()
    }

    /// The state after `x`, from `h`.
    pub(super) fn advance(&self, h: &[f64], x: &[f64], step: u32) -> Vec<f64> {
        let update = &self.rule.update;
        let damping = f64::from(update.damping);
        let active = self.activate(h, x, step);
        let moving = moving_block(update.blocks, update.seed, step) as usize;
        (0..self.dim)
            .map(|c| match c % update.blocks as usize == moving {
                true => damping * x[c] + (1.0 - damping) * active[c],
                false => x[c],
            })
            .collect()
    }

    fn activate(&self, h: &[f64], x: &[f64], step: u32) -> Vec<f64> {
        let update = &self.rule.update;
        match update.activation {
            Activation::None => h.to_vec(),
            Activation::Sign { .. } if update.temperature > 0.0 => (0..self.dim)
                .map(|c| {
                    let drawn = f64::from(uniform(update.seed, self.number, step, c as u32));
                    let up = 1.0 / (1.0 + (-2.0 * h[c] / f64::from(update.temperature)).exp());
                    if drawn < up { 1.0 } else { -1.0 }
                })
                .collect(),
            Activation::Sign { zero } => (0..self.dim)
                .map(|c| match (h[c] == 0.0, zero) {
                    (true, Zero::Keep) => x[c],
                    (true, Zero::Plus) => 1.0,
                    (true, Zero::Zero) => 0.0,
                    (false, _) => h[c].signum(),
                })
                .collect(),
            Activation::Tanh => h.iter().map(|h| h.tanh()).collect(),
            Activation::Normalize => {
                let norm = h.iter().map(|h| h * h).sum::<f64>().sqrt().max(1e-12);
                h.iter().map(|h| h / norm).collect()
            }
            Activation::Phasor => {
                let mut phasors = Vec::with_capacity(self.dim);
                for pair in h.chunks_exact(2) {
                    let magnitude = pair[0].hypot(pair[1]);
                    let phasor = if magnitude > 0.0 { [pair[0] / magnitude, pair[1] / magnitude] } else { [1.0, 0.0] };
                    phasors.extend(phasor);
                }
                phasors
            }
            Activation::SoftmaxBlocks { width } => {
                h.chunks_exact(width).flat_map(|block| separate(Separation::Softmax, block)).collect()
            }
            Activation::ArgmaxBlocks { width } => {
                h.chunks_exact(width).flat_map(|block| separate(Separation::TopK { k: 1 }, block)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Next, Rule, Similarity, Update};

    const KEYS: [f32; 15] = [1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0];
    const SIGNS: Update = Update::NONE.activation(Activation::Sign { zero: Zero::Keep });

    fn after(rule: Rule, query: &[f32; 5]) -> Vec<f64> {
        Problem::new(rule, 5, &KEYS).retrieve(query, 1).state
    }

    /// The definition that the self-term stands for: one difference of potentials for each coordinate and pattern.
    #[test]
    fn self_couplings_are_those_of_the_definition() {
        let separations = [
            Separation::Linear,
            Separation::Power { n: 1 },
            Separation::Power { n: 2 },
            Separation::Power { n: 3 },
            Separation::Power { n: 4 },
            Separation::Rectified { n: 2 },
            Separation::Rectified { n: 3 },
            Separation::Step { threshold: 1.5 },
            Separation::Softmax,
        ];
        for separation in separations {
            for beta in [1.0f32, 0.25, -0.5] {
                let rule = Rule::new(Similarity::Dot, separation, beta).then(SIGNS.remove_self());
                let problem = Problem::new(rule, 5, &KEYS);
                for number in 0..32u32 {
                    let x: Vec<f64> = (0..5).map(|c| if number >> c & 1 == 1 { 1.0 } else { -1.0 }).collect();
                    let scores = problem.scores(&x);
                    let coupling = problem.self_coupling(&scores, 1);
                    let y = super::super::project(&coupling.weights, &KEYS, 5);
                    let beta = f64::from(beta);
                    let total: f64 = scores.iter().map(|z| z.exp()).sum();
                    for c in 0..5 {
                        let expected: f64 = KEYS
                            .chunks_exact(5)
                            .zip(&scores)
                            .map(|(key, z)| {
                                let k = f64::from(key[c]);
                                let h = z - beta * k * x[c];
                                match separation {
                                    // y - tanh(b) x, from the sums of exponentials.
                                    Separation::Softmax => {
                                        ((h + beta * k).exp() - (h - beta * k).exp())
                                            / (2.0 * beta.sinh() * beta.cosh() * total)
                                    }
                                    _ => {
                                        let f = |z| potential(separation, z);
                                        (f(h + beta * k) - f(h - beta * k)) / (2.0 * beta)
                                    }
                                }
                            })
                            .sum();
                        let got = (y[c] - coupling.of_self * x[c]) / coupling.divisor;
                        assert!((got - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{rule}: {got}, {expected}");
                    }
                }
            }
        }
    }

    /// Sums of multiples of 1/3 that are 0, which they are not where each of them is rounded.
    #[test]
    fn sums_that_are_zero_come_out_so() {
        let keys = [
            [1.0, -1.0, -1.0, -1.0, -1.0],
            [-1.0, -1.0, 1.0, -1.0, 1.0],
            [-1.0, -1.0, 1.0, 1.0, -1.0],
            [1.0, -1.0, -1.0, 1.0, 1.0],
        ];
        let rule = Rule::dense(3).then(SIGNS.activation(Activation::Sign { zero: Zero::Zero }).remove_self());
        let answer = Problem::new(rule, 5, keys.as_flattened()).retrieve(&[1.0; 5], 1);
        // 3 z^2 + 4 are 31, 7, 7 and 7, and 6 z add up to -24.
        assert_eq!(answer.scores, [-3.0, -1.0, -1.0, 1.0]);
        assert_eq!(answer.local, [48.0 / 3.0, -28.0 / 3.0, 0.0, 0.0, 0.0]);
        assert_eq!(answer.state, [1.0, -1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn hand_computed() {
        // Scores 3, -3 and 5; their sums 5, -5, 11, 5 and -5.
        let query = [1.0, -1.0, 1.0, -1.0, 1.0];
        let linear = Rule::new(Similarity::Dot, Separation::Linear, 1.0);
        let scores = Problem::new(linear, 5, &KEYS).scores(&query.map(f64::from));
        assert_eq!(scores, [1.0, -1.0, 3.0]);
        // 1 (1,-1,1,1,-1) - 1 (-1,-1,1,1,-1) + 3 (1,1,1,-1,1)
        assert_eq!(after(linear, &query), [5.0, 3.0, 3.0, -3.0, 3.0]);
        assert_eq!(after(linear.then(SIGNS), &query), [1.0, 1.0, 1.0, -1.0, 1.0]);
        // Less N = 3 times the state.
        assert_eq!(after(linear.then(Update::NONE.remove_self()), &query), [2.0, 6.0, 0.0, 0.0, 0.0]);
        assert_eq!(after(linear.then(SIGNS.remove_self()), &query), [1.0, 1.0, 1.0, -1.0, 1.0]);
        let zero = |zero| after(linear.then(SIGNS.activation(Activation::Sign { zero }).remove_self()), &query);
        assert_eq!(zero(Zero::Plus), [1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(zero(Zero::Zero), [1.0, 1.0, 0.0, 0.0, 0.0]);
        let mixed = Update::NONE.gain(2.0).carry(-1.0).damping(0.5);
        assert_eq!(after(linear.then(mixed), &query), [5.0, 3.0, 3.0, -3.0, 3.0]);
        let blocks = |activation| after(linear.then(Update::NONE.gain(100.0).activation(activation)), &query);
        assert_eq!(blocks(Activation::ArgmaxBlocks { width: 5 }), [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(blocks(Activation::SoftmaxBlocks { width: 1 }), [1.0; 5]);
        assert_eq!(blocks(Activation::Tanh), [1.0, 1.0, 1.0, -1.0, 1.0]);
        let norm = blocks(Activation::Normalize).iter().map(|x| x * x).sum::<f64>();
        assert!((norm - 1.0).abs() < 1e-15);
        let field = [0.0, 0.0, 0.0, 9.0, 0.0];
        let problem = Problem { field: Some(&field), ..Problem::new(linear, 5, &KEYS) };
        assert_eq!(problem.retrieve(&query, 1).state, [5.0, 3.0, 3.0, 6.0, 3.0]);
        let problem = Problem { exclude: Some(0), rows: Some(0..2), ..Problem::new(linear, 5, &KEYS) };
        assert_eq!(problem.retrieve(&query, 1).state, [1.0, 1.0, -1.0, -1.0, 1.0]);
        let values = [10.0; 15];
        let next = linear.then(Update::NONE.next(Next::Values).carry(1.0));
        let problem = Problem { values: Some(&values), ..Problem::new(next, 5, &KEYS) };
        let answer = problem.retrieve(&query, 1);
        assert_eq!((answer.output, answer.state[1]), (vec![30.0; 5], 29.0));
    }

    #[test]
    fn beta_changes_by_the_same_factor() {
        let rule = Rule::softmax(1.0).then(Update::NONE.schedule(16.0, 5));
        let problem = Problem::new(rule, 1, &[1.0]);
        assert_eq!([1, 2, 3, 5, 9].map(|step| problem.beta_of(step)), [1.0, 2.0, 4.0, 16.0, 16.0]);
        let problem = Problem { beta: Some(3.0), ..problem };
        assert_eq!(problem.beta_of(2), 6.0);
    }
}
