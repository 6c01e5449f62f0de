//! How many patterns bounds leave, for measurements.

use crate::cpu::engine::Engine;
use crate::cpu::pack::Query;
use crate::cpu::plan::Plan;
use crate::error::Result;
use crate::precision::Precision;
use crate::retrieval::options::RetrieveOptions;
use crate::rule::Rule;
use crate::store::{Growth, Layout, NewRows};

/// For each query of `dim` floats, how many of `keys` are scored again from their `f32` rows; `None` where so many are
/// left that all are.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn rescored(rule: Rule, dim: usize, keys: &[f32], queries: &[f32]) -> Result<Vec<Option<usize>>> {
    let layout = Layout { dim, value_dim: None, precision: Precision::I8Exact, bias: false, max_rows: usize::MAX };
    let mut engine = Engine::new(layout, rule);
    engine.reserve(keys.len() / dim, Growth::Exact)?;
    engine.add(&NewRows { keys, values: None, bias: None })?;
    let options = RetrieveOptions::default();
    let plan = Plan::new(engine.view(&options, None), 1);
    let query = |row: &[f32]| Query::of_row(0, f64::from(rule.beta), row);
    let listed = |row: &[f32]| plan.bounded(&[&query(row)]).pop().flatten().map(|positions| positions.len());
    Ok(queries.chunks_exact(dim).map(listed).collect())
}
