//! A trial as Rust, to be pasted into a test.

use std::fmt;

use super::Trial;
use crate::case::Case;

/// As Rust.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { rule, dim, value_dim, precision, window_bytes, steps, tolerance, .. } = &self.case;
        let vector =
            |rows: &Option<Vec<f32>>| rows.as_ref().map_or("None".into(), |rows| format!("Some(vec!{rows:?})"));
        let flags =
            |flags: &Option<Vec<bool>>| flags.as_ref().map_or("None".into(), |flags| format!("Some(vec!{flags:?})"));
        writeln!(f, "Trial {{")?;
        writeln!(f, "    case: Case {{")?;
        let (similarity, beta) = (rule.similarity, rule.beta);
        writeln!(
            f,
            "        rule: Rule::new(Similarity::{similarity:?}, Separation::{:?}, {beta:?}),",
            rule.separation
        )?;
        writeln!(f, "        dim: {dim},\n        value_dim: {value_dim:?},")?;
        writeln!(f, "        keys: vec!{:?},", self.case.keys)?;
        writeln!(f, "        values: {},\n        bias: {},", vector(&self.case.values), vector(&self.case.bias))?;
        writeln!(f, "        keep: {},\n        clamp: {},", flags(&self.case.keep), flags(&self.case.clamp))?;
        writeln!(f, "        precision: Precision::{precision:?},\n        window_bytes: {window_bytes:?},")?;
        writeln!(f, "        queries: vec!{:?},", self.case.queries)?;
        writeln!(f, "        steps: {steps},\n        tolerance: {tolerance:?},\n    }},")?;
        writeln!(f, "    removed: vec!{:?},\n    way: Way::{:?},", self.removed, self.way)?;
        let Self { energy, statistics, weights, top, least_weight, .. } = self;
        writeln!(f, "    energy: {energy},\n    statistics: {statistics},\n    weights: {weights},\n    top: {top},")?;
        writeln!(f, "    least_weight: {least_weight:?},")?;
        write!(f, "}}")
    }
}
