//! Classical and dense Hopfield networks: states of signs, self-couplings taken away.

use attractor::retrieval::Stop;
use attractor::rule::Zero;
use attractor::{RetrieveOptions, Rule};

use super::file::{Failure, Golden};
use super::{Allowed, On, Outcome, signs, wide};

/// How 0 is treated, by the end of the text of the rule.
fn zero(golden: &Golden) -> Result<Zero, Failure> {
    let rule = golden.text("rule").unwrap_or_default();
    match () {
        () if rule.contains("zero keeps") => Ok(Zero::Keep),
        () if rule.contains("zero plus") || rule.contains("zero as plus") => Ok(Zero::Plus),
        () => Err(Failure::Case(format!("metadata `rule` is {rule:?}, and must say what zero becomes: `zero keeps`"))),
    }
}

/// Updates until one changes nothing.
pub fn classical(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([_, dim], patterns) = golden.sides::<2>("patterns")?;
    let ([batch, width], start) = golden.sides::<2>("start")?;
    if width != dim {
        return Err(Failure::Case(format!("`start` has {width} columns, and `patterns` {dim}")));
    }
    let max_steps = golden.count("max_steps")?;
    let max_steps = max_steps.ok_or_else(|| Failure::Case("metadata has no `max_steps`".into()))?;
    let (expected, states) = (golden.shaped("iterations", &[batch])?, golden.shaped("states", &[batch, dim])?);
    let rule = Rule::classical_hopfield().then(signs(zero(golden)?).remove_self());
    let memory = on.memory(rule, dim, &patterns.floats())?;
    // Signs move by 2 or not at all.
    let options = RetrieveOptions::default().stop(Stop::Converge { max_steps, tolerance: 0.5 });
    let answer = memory.retrieve_blocking(&start.floats(), &options)?;
    let rested = answer.steps.iter().zip(&answer.converged);
    let iterations: Vec<f64> = rested.map(|(steps, rested)| if *rested { f64::from(*steps) } else { 0.0 }).collect();
    let mut outcome = Outcome::new("classical Hopfield");
    outcome.used(&memory, batch);
    outcome.compare("iterations", &iterations, expected, Allowed::Equal)?;
    outcome.compare("states", &wide(&answer.state), states, Allowed::Equal)?;
    Ok(outcome)
}

/// Some updates by the energy `-sum_i F(<k_i, x>)` with `F(z) = z^n`.
pub fn dense(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([_, dim], patterns) = golden.sides::<2>("patterns")?;
    let ([batch, width], start) = golden.sides::<2>("start")?;
    if width != dim {
        return Err(Failure::Case(format!("`start` has {width} columns, and `patterns` {dim}")));
    }
    let potential = golden.text("F").unwrap_or_default();
    let order = potential.strip_prefix("z^").and_then(|order| order.parse::<u32>().ok());
    let order = order
        .filter(|order| (2..=64).contains(order))
        .ok_or_else(|| Failure::Case(format!("metadata `F` is {potential:?}, and must be z^n with n from 2 to 64")))?;
    let steps = golden.count("sweeps")?.unwrap_or(1);
    let states = golden.shaped("states", &[batch, dim])?;
    let memory = on.memory(Rule::dense(order).then(signs(zero(golden)?).remove_self()), dim, &patterns.floats())?;
    let answer = memory.retrieve_blocking(&start.floats(), &RetrieveOptions::steps(steps))?;
    let mut outcome = Outcome::new(format!("dense associative memory, F {potential}"));
    outcome.used(&memory, batch);
    outcome.compare("states", &wide(&answer.state), states, Allowed::Equal)?;
    Ok(outcome)
}
