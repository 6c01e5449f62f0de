//! The range of numbers that a device computes correct answers for. Within it no sum or product of a retrieval
//! overflows `f32`, and flushing numbers below the smallest normal number to zero changes no score by more than
//! [`MAX_FLUSHED`].
//!
//! With `X` the largest norm of a state, `K` that of a key, `B` the largest bias, `V` the largest norm of a key or
//! coordinate of a value, `n` the patterns that it is summed over and `m` the smallest normal number:
//!
//! ```text
//! sums of a similarity   dot X K    cosine X, K    euclidean (X + K)^2    manhattan sqrt(d) (X + K)    at most 1e37
//! scores                 |beta| similarity + B                                                         at most 1e37
//! sums of rows           n V                                                                           at most 1e38
//! flushed                |beta| m (d + sqrt(d) (X + K))                                                at most 1e-5
//!                        under cosine |beta| m (d + sqrt(d)) / k and |beta| m sqrt(d) / x              at most 5e-6
//! ```
//!
//! `k` and `x` being the smallest norms of keys and queries that are not zero, and at least 1e-12, as cosine clamps
//! them.

use std::sync::Arc;

use super::growth::{Growth, MAX_SUM, Parts};
use crate::error::{Error, Result};
use crate::retrieval::options::RetrieveOptions;
use crate::room::{copy, no_room};
use crate::rule::{Rule, Separation, Similarity};
use crate::store::{Alive, Layout};

/// The largest sum behind a similarity, and the largest score.
const MAX_SCORE: f64 = 1e37;
/// How much of a score may be lost by flushing to zero.
const MAX_FLUSHED: f64 = 1e-5;
/// The smallest norm that cosine similarity divides by.
const MIN_NORM: f64 = 1e-12;

/// The magnitudes of stored rows, by position.
#[derive(Debug, Default)]
pub(crate) struct Magnitudes {
    /// The squared norm of every key.
    pub squares: Vec<f64>,
    /// The largest magnitude in every value; empty where keys are their own values.
    values: Vec<f32>,
    /// The magnitude of every bias; empty where there is none.
    biases: Vec<f32>,
    /// Bounds on every row that is or was stored.
    bound: NormBounds,
}

/// The magnitudes, to be changed: a copy where something else still reads them.
pub(super) fn unshared<'m>(operation: &'static str, magnitudes: &'m mut Arc<Magnitudes>) -> Result<&'m mut Magnitudes> {
    if Arc::get_mut(magnitudes).is_none() {
        *magnitudes = Arc::new(magnitudes.try_clone(operation)?);
    }
    Ok(Arc::get_mut(magnitudes).expect("a copy that nothing else holds"))
}

/// The magnitudes of some rows, in the order in which they were written.
#[derive(Default)]
pub(crate) struct RowMagnitudes {
    pub squares: Vec<f64>,
    pub values: Vec<f32>,
    pub biases: Vec<f32>,
}

/// Bounds on the magnitudes of some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct NormBounds {
    norm: f64,
    value: f64,
    bias: f64,
    /// The smallest norm that is not zero.
    shortest: f64,
}

/// Magnitudes of coordinates of queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueryRange {
    /// The largest coordinate of a query is zero or at least this.
    pub smallest: f32,
    /// No coordinate of a query is larger.
    pub largest: f32,
    /// Whether it is that of a search.
    pub searched: bool,
}

/// The states that a retrieval compares with keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct States {
    /// Whether states after the query are compared as well.
    pub later: bool,
    /// Whether their coordinates may be those of the query.
    pub clamped: bool,
    /// Whether scores are similarities: neither a bias nor beta plays a part, and no rows are summed.
    pub searched: bool,
    /// The largest magnitude of a beta, and the smallest that is not zero, if these are not the rule's own.
    pub betas: Option<[f64; 2]>,
    /// How states grow that are not means of keys.
    pub growth: Option<Growth>,
}

impl States {
    /// The queries of a search.
    pub const OF_SEARCH: Self = Self { later: false, clamped: false, searched: true, betas: None, growth: None };

    pub fn of(rule: Rule, options: &RetrieveOptions) -> Self {
        let later = options.max_steps() > 1 || options.energy || options.trace;
        let betas = betas_of(rule, options);
        Self { later, clamped: options.clamp.is_some(), searched: false, betas, growth: Growth::of(rule, options) }
    }
}

/// The largest magnitude of a beta of any update, and the smallest that is not zero.
fn betas_of(rule: Rule, options: &RetrieveOptions) -> Option<[f64; 2]> {
    let (own, schedule) = (options.per_query.betas.as_deref(), rule.update.schedule);
    if own.is_none() && schedule.is_none() {
        return None;
    }
    let last = schedule.map_or(1.0, |schedule| (f64::from(schedule.last) / f64::from(rule.beta)).abs());
    let (rule_beta, none) = ([rule.beta], [0.0, f64::INFINITY]);
    let betas = own.unwrap_or(&rule_beta).iter().map(|beta| f64::from(beta.abs())).filter(|beta| *beta > 0.0);
    Some(betas.fold(none, |[most, least], beta| [most.max(beta).max(beta * last), least.min(beta).min(beta * last)]))
}

impl Default for NormBounds {
    fn default() -> Self {
        Self { norm: 0.0, value: 0.0, bias: 0.0, shortest: f64::INFINITY }
    }
}

impl NormBounds {
    fn of(written: &RowMagnitudes) -> Self {
        let largest = |numbers: &[f32]| numbers.iter().fold(0.0f32, |most, number| most.max(*number));
        Self {
            norm: written.squares.iter().fold(0.0f64, |most, square| most.max(*square)).sqrt(),
            value: largest(&written.values).into(),
            bias: largest(&written.biases).into(),
            shortest: shortest(&written.squares),
        }
    }

    fn include(&mut self, other: Self) {
        self.norm = self.norm.max(other.norm);
        self.value = self.value.max(other.value);
        self.bias = self.bias.max(other.bias);
        self.shortest = self.shortest.min(other.shortest);
    }
}

impl Magnitudes {
    /// Makes room for `rows` more rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_reserve(&mut self, operation: &'static str, rows: usize, layout: &Layout) -> Result<()> {
        self.squares.try_reserve(rows).map_err(|_| no_room::<f64>(operation, "norms", rows))?;
        for (numbers, present) in [(&mut self.values, layout.value_dim.is_some()), (&mut self.biases, layout.bias)] {
            if present {
                numbers.try_reserve(rows).map_err(|_| no_room::<f32>(operation, "norms", rows))?;
            }
        }
        Ok(())
    }

    pub fn add(&mut self, written: RowMagnitudes) {
        self.bound.include(NormBounds::of(&written));
        self.squares.extend(written.squares);
        self.values.extend(written.values);
        self.biases.extend(written.biases);
    }

    pub fn overwrite(&mut self, position: usize, written: &RowMagnitudes) {
        self.bound.include(NormBounds::of(written));
        self.squares[position..=position].copy_from_slice(&written.squares);
        for (all, one) in [(&mut self.values, &written.values), (&mut self.biases, &written.biases)] {
            if let (Some(all), Some(one)) = (all.get_mut(position), one.first()) {
                *all = *one;
            }
        }
    }

    pub fn truncate(&mut self, rows: usize) {
        self.squares.truncate(rows);
        self.values.truncate(rows);
        self.biases.truncate(rows);
    }

    /// A copy, or [`Error::OutOfMemory`].
    fn try_clone(&self, operation: &'static str) -> Result<Self> {
        Ok(Self {
            squares: copy(operation, "norms", &self.squares)?,
            values: copy(operation, "norms", &self.values)?,
            biases: copy(operation, "norms", &self.biases)?,
            bound: self.bound,
        })
    }

    /// The position of the row for which `number` is the largest, among those that are `alive`.
    fn position(&self, alive: Option<&Alive>, number: impl Fn(usize) -> f64) -> Option<usize> {
        let stored = (0..self.squares.len()).filter(|position| alive.is_none_or(|alive| alive[*position]));
        stored.reduce(|best, position| if number(position) > number(best) { position } else { best })
    }

    fn norm(&self, position: usize) -> f64 {
        self.squares[position].sqrt()
    }

    /// The largest coordinate of a row that is summed is at most this.
    fn value(&self, position: usize) -> f64 {
        let value = self.values.get(position).map_or(0.0, |value| f64::from(*value));
        value.max(self.norm(position))
    }

    fn bias(&self, position: usize) -> f64 {
        self.biases.get(position).map_or(0.0, |bias| f64::from(*bias))
    }
}

/// The smallest norm that is not zero, by squares.
fn shortest(squares: &[f64]) -> f64 {
    let positive = squares.iter().filter(|square| **square > 0.0);
    positive.fold(f64::INFINITY, |least, square| square.min(least)).sqrt()
}

/// Whether states of norm `x` can be compared with keys of norms up to `largest.norm` under biases up to
/// `largest.bias`.
fn fits(rule: Rule, dim: usize, largest: NormBounds, x: f64, beta: f64) -> bool {
    let (k, smallest) = (largest.norm, f64::from(f32::MIN_POSITIVE));
    let (d, root) = (dim as f64, (dim as f64).sqrt());
    let both = x + k;
    let similarity = largest_similarity(rule, dim, largest, x);
    let (sum, flushed) = match rule.similarity {
        Similarity::Dot => (similarity, d + root * both),
        Similarity::Cosine => (x.max(k), 2.0 * (d + root) / largest.shortest.max(MIN_NORM)),
        Similarity::Euclidean => (2.0 * similarity, d + 2.0 * root * both),
        Similarity::Manhattan => (similarity, d),
    };
    let flushed = beta * smallest * flushed;
    // A beta that is not normal may itself be flushed.
    let lost = if beta < smallest { beta * similarity } else { 0.0 };
    let score = beta * similarity + largest.bias;
    sum.max(x).max(score) <= MAX_SCORE && beta <= MAX_SUM && flushed + lost <= MAX_FLUSHED
}

/// The largest magnitude of a similarity.
fn largest_similarity(rule: Rule, dim: usize, largest: NormBounds, x: f64) -> f64 {
    let both = x + largest.norm;
    match rule.similarity {
        Similarity::Dot => x * largest.norm,
        Similarity::Cosine => 1.0,
        Similarity::Euclidean => 0.5 * both * both,
        Similarity::Manhattan => (dim as f64).sqrt() * both,
    }
}

/// The largest magnitude of a coordinate of a query, a power of two; `None` where there is none.
fn largest_coordinate(rule: Rule, dim: usize, largest: NormBounds, states: States, patterns: usize) -> Option<f32> {
    let root = (dim as f64).sqrt();
    let own = f64::from(rule.beta.abs());
    let [most, least] = states.betas.unwrap_or([own, own]);
    let fits_all = |limit: f64| {
        let x = root * limit;
        // A later state is a mean of keys, except in clamped coordinates; what others may be is watched, or is at most
        // 1 where the query is not larger.
        let (later, coordinate) = match states.growth {
            Some(growth) if states.later && growth.is_bounded() => (root * limit.max(1.0), limit.max(1.0)),
            None if states.later => (largest.norm + if states.clamped { x } else { 0.0 }, limit),
            _ => (0.0, limit),
        };
        let x = x.max(later);
        let score = most * largest_similarity(rule, dim, largest, x) + largest.bias;
        let value = largest.value.max(largest.norm);
        let parts = Parts { patterns: patterns as f64, beta: most, score, value, coordinate };
        let of_beta = |beta: f64| beta == f64::INFINITY || fits(rule, dim, largest, x, beta);
        of_beta(most) && of_beta(least) && states.growth.is_none_or(|growth| growth.fits(parts))
    };
    (-126..=123).rev().map(|exponent| 2.0f64.powi(exponent)).find(|limit| fits_all(*limit)).map(|limit| limit as f32)
}

/// The least magnitude that the largest coordinate of a query may have, unless it is zero: below it, flushing could be
/// seen under cosine similarity, which divides by the query's norm.
fn smallest_coordinate(rule: Rule, dim: usize, beta: f64) -> f32 {
    if rule.similarity != Similarity::Cosine {
        return 0.0;
    }
    let norm = beta * f64::from(f32::MIN_POSITIVE) * (dim as f64).sqrt() / (0.5 * MAX_FLUSHED);
    // Norms below the clamp are divided by the clamp.
    if norm <= MIN_NORM { 0.0 } else { norm as f32 }
}

impl Magnitudes {
    /// The magnitudes that coordinates of a query may have.
    ///
    /// # Errors
    /// [`Error::Range`] where the stored rows leave no room for any, naming the position of the largest;
    /// [`Error::Parameter`] where beta does.
    pub fn query_range(
        &self,
        operation: &'static str,
        rule: Rule,
        dim: usize,
        states: States,
        alive: Option<&Alive>,
    ) -> Result<QueryRange> {
        let [most, _] = states.betas.unwrap_or([f64::from(rule.beta.abs()), 0.0]);
        let smallest = smallest_coordinate(rule, dim, most);
        let searched = states.searched;
        let range = |largest| Ok(QueryRange { smallest, largest, searched });
        // No weight is above 1; those of entmax sum to 1, with room for rounding.
        let patterns = self.squares.len();
        let summed = match rule.separation {
            _ if searched => 0,
            Separation::Softmax | Separation::Softmax1 => patterns,
            Separation::TopK { k } => k.min(patterns),
            Separation::Sparsemax | Separation::Entmax { .. } => patterns.min(2),
            Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
                patterns
            }
        };
        let bound = NormBounds { bias: if searched { 0.0 } else { self.bound.bias }, ..self.bound };
        let sums_fit = |largest: f64| summed as f64 * largest <= MAX_SUM;
        if sums_fit(bound.value.max(bound.norm))
            && let Some(limit) = largest_coordinate(rule, dim, bound, states, patterns)
        {
            return range(limit);
        }
        // The bound may stem from a row that is no longer stored.
        let refuse = |what: &'static str, row: usize, expected: String, got: String| {
            Err(Error::Range { operation, what, row, expected, got })
        };
        let Some(row) = self.position(alive, |position| self.value(position)) else {
            return range(f32::MAX);
        };
        if !sums_fit(self.value(row)) {
            let what = if self.values.is_empty() { "keys" } else { "keys or values" };
            let expected =
                format!("at most {:e}, of which {summed} may be summed on this device", MAX_SUM / summed as f64);
            return refuse(what, row, expected, format!("a norm or coordinate of {:e}", self.value(row)));
        }
        let position = |number: &dyn Fn(usize) -> f64| self.position(alive, number).unwrap_or(row);
        let (longest, biased) = (position(&|row| self.norm(row)), position(&|row| self.bias(row)));
        let small = |row: usize| match self.norm(row) {
            0.0 => f64::NEG_INFINITY,
            norm => -norm,
        };
        let smallest_key = position(&small);
        let (norm, bias) = (self.norm(longest), if searched { 0.0 } else { self.bias(biased) });
        let (scores, beta) = match searched {
            true => ("similarities", String::new()),
            false => ("scores", format!(" (beta is {})", rule.beta)),
        };
        let largest = NormBounds { norm, value: self.value(row), bias, shortest: -small(smallest_key) };
        if let Some(limit) = largest_coordinate(rule, dim, largest, states, patterns) {
            return range(limit);
        }
        let means = States { growth: None, ..states };
        if states.growth.is_some() && largest_coordinate(rule, dim, largest, means, patterns).is_some() {
            let expected = format!("weights and sums of at most {MAX_SUM:e} on this device{beta}");
            return refuse("keys", longest, expected, format!("a norm of {norm:e}"));
        }
        let (none, states) = (NormBounds::default(), means);
        if largest_coordinate(rule, dim, none, states, patterns).is_none() {
            let expected = "a magnitude at which no score is lost below the numbers of f32 on this device";
            return Err(Error::Parameter { operation, parameter: "beta", expected, got: rule.beta.to_string() });
        }
        if largest_coordinate(rule, dim, NormBounds { norm: 0.0, ..largest }, states, patterns).is_none() {
            let expected = format!("magnitudes of at most {MAX_SCORE:e} on this device");
            return refuse("bias", biased, expected, format!("a magnitude of {:e}", largest.bias));
        }
        if largest_coordinate(rule, dim, NormBounds { shortest: f64::INFINITY, ..largest }, states, patterns).is_some()
        {
            let expected = format!("norms of which nothing is lost below the numbers of f32{beta}");
            return refuse("keys", smallest_key, expected, format!("a norm of {:e}", largest.shortest));
        }
        let expected = format!("{scores} of at most {MAX_SCORE:e} on this device{beta}");
        refuse("keys", longest, expected, format!("a norm of {:e}", largest.norm))
    }
}

impl QueryRange {
    /// Refuses queries (rows of `dim`, finite) outside the range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the first such row.
    pub fn check(self, operation: &'static str, queries: &[f32], dim: usize) -> Result<()> {
        let Self { smallest, largest, searched } = self;
        let beside = if searched { "keys" } else { "keys and beta" };
        for (row, query) in queries.chunks_exact(dim).enumerate() {
            let most = query.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            if most > largest || (most > 0.0 && most < smallest) {
                let expected =
                    format!("magnitudes from {smallest:e} to {largest:e} on this device, beside {beside} as they are");
                let got = format!("a largest coordinate of {most:e}");
                return Err(Error::Range { operation, what: "queries", row, expected, got });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(similarity: Similarity, beta: f32, norm: f64, bias: f64, later: bool) -> Option<f32> {
        let largest = NormBounds { norm, value: norm, bias, shortest: norm };
        let rule = Rule::new(similarity, Separation::Softmax, beta);
        largest_coordinate(rule, 16, largest, States { later, ..States::OF_SEARCH }, 100)
    }

    #[test]
    fn ordinary_memories_have_room_for_any_ordinary_query() {
        for similarity in [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan] {
            for beta in [1e-30f32, 0.125, -8.0, 1e6] {
                for norm in [1e-20, 1.0, 1e6] {
                    let limit = limit(similarity, beta, norm, 100.0, true);
                    assert!(limit.is_some_and(|limit| limit > 1e12), "{similarity:?} {beta} {norm}: {limit:?}");
                }
            }
        }
    }

    #[test]
    fn what_leaves_f32_is_left_no_room() {
        let fits = |similarity, beta, norm, bias, x: f32| {
            limit(similarity, beta, norm, bias, false).is_some_and(|limit| limit >= x)
        };
        assert!(fits(Similarity::Dot, 1.0, 1e18, 0.0, 1e18));
        assert!(!fits(Similarity::Dot, 1.0, 1e20, 0.0, 1e18));
        assert!(!fits(Similarity::Dot, 1e20, 1e10, 0.0, 1e10));
        assert!(!fits(Similarity::Euclidean, 1e-38, 1e20, 0.0, 0.0));
        assert!(!fits(Similarity::Cosine, 3.0, 4.2e38, 0.0, 0.0));
        assert!(!fits(Similarity::Manhattan, 1e-38, 5e38, 0.0, 0.0));
        assert!(!fits(Similarity::Dot, 1.0, 1.0, 1e38, 0.0), "a bias");
        assert!(!fits(Similarity::Dot, 1e38, 1e-19, 0.0, 0.0), "a beta under which flushed products would be seen");
        assert!(!fits(Similarity::Dot, 1e-40, 1e20, 0.0, 1e17), "a beta that may be flushed");
        assert!(fits(Similarity::Cosine, 1e30, 1.0, 0.0, 1.0), "keys that are large enough");
        assert!(!fits(Similarity::Cosine, 1e30, 1e-6, 0.0, 1.0), "keys of which something is lost");
        let smallest =
            |beta| smallest_coordinate(Rule::new(Similarity::Cosine, Separation::Softmax, beta), 16, beta.into());
        assert!(smallest(1e12) == 0.0 && smallest(1e30) > 1e-3 && smallest(1e30) < 0.1);
        // The first step fits, the second compares keys with keys.
        assert!(limit(Similarity::Dot, 1.0, 1e25, 0.0, false).is_some());
        assert!(limit(Similarity::Dot, 1.0, 1e25, 0.0, true).is_none());
    }
}
