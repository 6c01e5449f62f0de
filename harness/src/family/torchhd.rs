//! The memories of `torchhd.memory`.

use attractor::rule::Zero;
use attractor::{RetrieveOptions, Rule, Separation, Similarity, Update};

use super::file::{Failure, Golden};
use super::{Allowed, On, Outcome, signs, wide};

/// How far answers in `f32` may be off, as a share of the largest.
const SHARE: f64 = 2e-5;

/// `hopfield`, `modern_hopfield` and `attention`, one call each of those that the file has.
pub fn memories(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([_, dim], items) = golden.sides::<2>("items")?;
    let ([batch, _], queries) = golden.sides::<2>("queries")?;
    golden.shaped("queries", &[batch, dim])?;
    let (items, starts) = (items.floats(), queries.floats());
    let once = RetrieveOptions::steps(1);
    let mut outcome = Outcome::new("memories of torchhd");
    if golden.has("hopfield") {
        // sum_i <k_i, x> k_i - N x, without a sign.
        let rule = Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(Update::default().remove_self());
        let memory = on.memory(rule, dim, &items)?;
        let state = memory.retrieve_blocking(&starts, &once)?.state;
        outcome.used(&memory, batch);
        outcome.compare("hopfield", &wide(&state), golden.tensor("hopfield")?, Allowed::Equal)?;
    }
    if golden.has("modern_hopfield") {
        let expected = golden.tensor("modern_hopfield")?;
        let memory = on.memory(Rule::softmax(1.0), dim, &items)?;
        let mean = memory.retrieve_blocking(&starts, &once)?.output;
        outcome.used(&memory, batch);
        let got: Vec<f64> = mean.iter().zip(&starts).map(|(y, x)| of_flip(f64::from(*y), f64::from(*x))).collect();
        outcome.compare("modern_hopfield", &got, expected, Allowed::OfLargest(SHARE))?;
        // What the rule of the exponential network decides from it.
        let memory = on.memory(Rule::exponential().then(signs(Zero::Keep).remove_self()), dim, &items)?;
        let state = memory.retrieve_blocking(&starts, &once)?.state;
        outcome.used(&memory, batch);
        outcome.compare("modern_hopfield", &wide(&state), expected, Allowed::Signs(1e-6))?;
    }
    if golden.has("attention") {
        let beta = golden.told("beta")?.map_or(Rule::attention(dim).beta, |beta| beta as f32);
        let memory = on.memory(Rule::softmax(beta), dim, &items)?;
        let output = memory.retrieve_blocking(&starts, &once)?.output;
        outcome.used(&memory, batch);
        outcome.compare("attention", &wide(&output), golden.tensor("attention")?, Allowed::OfLargest(SHARE))?;
    }
    if outcome.comparisons.is_empty() {
        return Err(Failure::Case("there is no tensor `hopfield`, `modern_hopfield` or `attention`".into()));
    }
    Ok(outcome)
}

/// `lse K x+ - lse K x-`, for the bipolar state with one coordinate `x` set to 1 and to -1, from the softmax mean `y` of
/// that coordinate over the patterns. One of the two is the state itself, and a flip of the coordinate multiplies the
/// exponential of a pattern by `exp(-2 x k)`, whose mean is `cosh 2 - x y sinh 2`.
fn of_flip(y: f64, x: f64) -> f64 {
    // What rounding takes beyond a mean of 1 is none of it.
    -x * (2f64.cosh() - (x * y).clamp(-1.0, 1.0) * 2f64.sinh()).ln()
}

/// Sums of the values whose keys are near enough.
pub fn sparse_distributed(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([patterns, dim], keys) = golden.sides::<2>("keys")?;
    let ([_, value_dim], _) = golden.sides::<2>("values")?;
    let values = golden.shaped("values", &[patterns, value_dim])?;
    let ([batch, _], _) = golden.sides::<2>("queries")?;
    let queries = golden.shaped("queries", &[batch, dim])?;
    let read = golden.shaped("read", &[batch, value_dim])?;
    let threshold = golden.number("threshold");
    let threshold = threshold.ok_or_else(|| Failure::Case("metadata has no number `threshold`".into()))?;
    let rule = Rule::sparse_distributed(threshold as f32);
    let memory = on.with_values(rule, (dim, &keys.floats()), (value_dim, &values.floats()))?;
    let output = memory.retrieve_blocking(&queries.floats(), &RetrieveOptions::steps(1))?.output;
    let mut outcome = Outcome::new("sparse distributed memory of torchhd");
    outcome.used(&memory, batch);
    outcome.compare("read", &wide(&output), read, Allowed::Equal)?;
    Ok(outcome)
}

/// A matrix of clipped couplings.
pub fn clipped_hopfield(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([rows, dim], weights) = golden.sides::<2>("weights")?;
    if rows != dim {
        return Err(Failure::Case(format!("tensor `weights` is {rows} x {dim}, and must be square")));
    }
    let ([batch, _], _) = golden.sides::<2>("items")?;
    let (items, read) = (golden.shaped("items", &[batch, dim])?, golden.shaped("read", &[batch, dim])?);
    let mut units = vec![0.0f32; dim * dim];
    units.iter_mut().step_by(dim + 1).for_each(|one| *one = 1.0);
    let rule = Rule::matrix(Update::default());
    let memory = on.with_values(rule, (dim, &weights.floats()), (dim, &units))?;
    let state = memory.retrieve_blocking(&items.floats(), &RetrieveOptions::steps(1))?.state;
    let mut outcome = Outcome::new("Hopfield memory of torchhd, clipped couplings");
    outcome.used(&memory, batch);
    outcome.compare("read", &wide(&state), read, Allowed::Equal)?;
    Ok(outcome)
}
