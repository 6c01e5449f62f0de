//! How far rounding may take the answer of one update from the reference, for separations that are not normalised and
//! for updates that end with more than the weighted sums.

use attractor::Separation;
use attractor::reference::{Answer, potential, separate};
use attractor::rule::{Activation, Next};

use crate::bound::bound;
use crate::case::Case;

/// The worst error of one query's output and state after one update, as a share of what rounding allows; infinite where
/// a sign or a largest coordinate differs that rounding cannot have changed.
///
/// A score that is off by `e_i`, a few epsilon times `|beta| sum_c |x_c k_ic| + |b_i|`, moves the weight by `|w(z_i +-
/// e_i) - w(z_i)|`; a weight is computed to `n + 8` epsilon; and sums over `N` patterns add a random walk of roundings.
/// So `y` is off by at most `sum_i (|w(z_i +- e_i) - w(z_i)| + epsilon (n + 8 + sqrt N) |w_i|) max|v_i|`, `T` likewise,
/// and `h` by what these give. Activations pass an error on by at most their slope.
pub fn update_share(case: &Case, b: usize, expected: &Answer, output: &[f32], state: &[f32]) -> f64 {
    let sums = sums_bound(case, b, expected);
    let error = |got: &[f32], expected: &[f64], allowed: &dyn Fn(usize) -> f64| {
        let pairs = got.iter().zip(expected).enumerate();
        pairs.fold(0.0f64, |most, (c, (g, e))| {
            let off = (f64::from(*g) - e).abs();
            let share = if off == 0.0 { 0.0 } else { off / allowed(c) };
            if share.is_nan() { f64::INFINITY } else { most.max(share) }
        })
    };
    if output.len() != expected.output.len() || state.len() != expected.state.len() {
        return f64::INFINITY;
    }
    let outputs = error(output, &expected.output, &|_| sums.output);
    let local = local_bounds(case, b, expected, &sums);
    if local.is_empty() {
        return outputs.max(error(state, &expected.state, &|_| 0.0));
    }
    outputs.max(error(state, &expected.state, &|c| state_bound(case, expected, &local, c)))
}

/// How far sums may be off.
pub(crate) struct SumsBound {
    /// Any coordinate of the output.
    pub output: f64,
    /// Any coordinate of the sums that go on.
    next: f64,
    /// `T`.
    of_self: f64,
    /// `T` itself.
    coupling: f64,
}

fn largest(row: &[f32]) -> f64 {
    row.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())))
}

/// The weight of a score, and its part of `T`.
fn count(case: &Case, beta: f64, z: f64) -> (f64, f64) {
    let (separation, update) = (case.rule.separation, &case.rule.update);
    if !update.remove_self {
        return (separate(separation, &[z])[0], 0.0);
    }
    let (up, down) = (potential(separation, z + 2.0 * beta), potential(separation, z - 2.0 * beta));
    ((up - down) / (4.0 * beta), (f64::midpoint(up, down) - potential(separation, z)) / (2.0 * beta))
}

pub(crate) fn sums_bound(case: &Case, b: usize, expected: &Answer) -> SumsBound {
    let problem = case.problem(b);
    let (beta, dim) = (problem.beta_of(1), case.dim);
    let values = case.values.as_deref().unwrap_or(&case.keys);
    let goes_on = if case.rule.update.next == Next::Values { values } else { &case.keys };
    if case.rule.separation.is_normalized() {
        let rule = attractor::Rule { beta: beta as f32, ..case.rule };
        let of = |rows: &[f32]| bound(rule, dim, &case.keys, rows, case.query(b), 1);
        let coupling = if case.rule.update.remove_self { beta.tanh() } else { 0.0 };
        return SumsBound { output: of(values), next: of(goes_on), of_self: 1e-7 * coupling.abs(), coupling };
    }
    let n = match case.rule.separation {
        Separation::Power { n } | Separation::Rectified { n } => f64::from(n),
        _ => 1.0,
    };
    let epsilon = f64::from(f32::EPSILON);
    let rounding = epsilon * (n + 8.0 + (case.patterns() as f64).sqrt());
    let mut bounds = SumsBound { output: 0.0, next: 0.0, of_self: 0.0, coupling: 0.0 };
    let (columns, next_columns) = (values.len() / case.patterns(), goes_on.len() / case.patterns());
    for (i, z) in expected.scores.iter().enumerate().filter(|(_, z)| **z > f64::NEG_INFINITY) {
        let key = &case.keys[i * dim..(i + 1) * dim];
        let products: f64 = key.iter().zip(case.query(b)).map(|(k, x)| f64::from(k * x).abs()).sum();
        let similarity = ((z - case.bias.as_ref().map_or(0.0, |bias| f64::from(bias[i]))) / beta).abs();
        let bias = case.bias.as_ref().map_or(0.0, |bias| f64::from(bias[i].abs()));
        let score = epsilon * (8.0 * beta.abs() * products.max(similarity) + 4.0 * bias + 1e-6);
        let (weight, of_self) = count(case, beta, *z);
        let ((up, up_self), (down, down_self)) = (count(case, beta, z + score), count(case, beta, z - score));
        let moved = (up - weight).abs().max((down - weight).abs()) + rounding * weight.abs();
        bounds.output += moved * largest(&values[i * columns..(i + 1) * columns]);
        bounds.next += moved * largest(&goes_on[i * next_columns..(i + 1) * next_columns]);
        bounds.of_self +=
            (up_self - of_self).abs().max((down_self - of_self).abs()) + rounding * (of_self.abs() + weight.abs());
        bounds.coupling += of_self;
    }
    bounds
}

/// How far each `h` may be off; none where no pattern was left.
fn local_bounds(case: &Case, b: usize, expected: &Answer, sums: &SumsBound) -> Vec<f64> {
    let update = &case.rule.update;
    let (gain, carry) = (f64::from(update.gain).abs(), f64::from(update.carry).abs());
    let before = &expected.states[expected.states.len() - 2];
    let bound = |(c, h): (usize, &f64)| {
        let field = case.field.as_ref().map_or(0.0, |field| f64::from(field[b * case.dim + c].abs()));
        let of_self = sums.coupling.abs() * before[c].abs();
        let parts = h.abs() + 2.0 * (gain * of_self + carry * before[c].abs() + field);
        gain * (sums.next + sums.of_self * before[c].abs()) + 4.0 * f64::from(f32::EPSILON) * parts
    };
    expected.local.iter().enumerate().map(bound).collect()
}

/// How far coordinate `c` of the state may be off.
fn state_bound(case: &Case, expected: &Answer, local: &[f64], c: usize) -> f64 {
    let (h, update) = (&expected.local, &case.rule.update);
    let rounding = 4.0 * f64::from(f32::EPSILON);
    let own = match update.activation {
        Activation::None => local[c],
        // What is closer to the threshold than rounding may go either way; a draw, as far as a logistic of it moves.
        Activation::Sign { .. } if update.temperature > 0.0 => 2.0,
        Activation::Sign { .. } if h[c].abs() <= local[c] => 2.0,
        // Implementations of tanh in shaders are that exact.
        Activation::Tanh => local[c] + 2e-5,
        Activation::Normalize => {
            let norm = h.iter().map(|h| h * h).sum::<f64>().sqrt().max(1e-12);
            let moved = local.iter().map(|e| e * e).sum::<f64>().sqrt();
            (local[c] + moved) / norm + rounding
        }
        Activation::Phasor => {
            let pair = c / 2 * 2;
            let moved = local[pair].max(local[pair + 1]);
            2.0 * moved / h[pair].hypot(h[pair + 1]).max(1e-30) + rounding
        }
        Activation::SoftmaxBlocks { width } => {
            let block = c / width * width..(c / width + 1) * width;
            2.0 * local[block].iter().fold(0.0f64, |most, e| most.max(*e)) + 1e-5
        }
        Activation::ArgmaxBlocks { width } => {
            let block = c / width * width..(c / width + 1) * width;
            let most = h[block.clone()].iter().fold(f64::NEG_INFINITY, |most, h| most.max(*h));
            let close = block.filter(|c| h[*c] >= most - 2.0 * local[*c]).count();
            if close > 1 { 1.0 } else { 0.0 }
        }
        _ => 0.0,
    };
    own + rounding * expected.state[c].abs()
}
