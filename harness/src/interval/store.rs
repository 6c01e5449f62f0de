//! Rows as a memory stores them.

use attractor::{Pattern, Precision};

use super::TINY;
use crate::case::Case;
use crate::trial::Trial;

/// Rows as a memory stores them.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) keys: Vec<f32>,
    pub(super) values: Option<Vec<f32>>,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) dim: usize,
    pub(super) value_dim: Option<usize>,
    /// Whether the device may take numbers below the normal ones for zero, as GPUs may.
    pub flushes: bool,
}

impl Store {
    /// The rows as they are given.
    pub fn new(case: &Case) -> Self {
        let Case { keys, values, bias, dim, value_dim, .. } = case.clone();
        Self { keys, values, bias, dim, value_dim, flushes: false }
    }

    /// Pattern `i` is stored as `pattern`.
    pub fn set(&mut self, i: usize, pattern: &Pattern) {
        self.keys[i * self.dim..(i + 1) * self.dim].copy_from_slice(&pattern.key);
        if let (Some(values), Some(dim), Some(value)) = (&mut self.values, self.value_dim, &pattern.value) {
            values[i * dim..(i + 1) * dim].copy_from_slice(value);
        }
        if let Some(bias) = &mut self.bias {
            bias[i] = pattern.bias;
        }
    }

    /// What is wrong with the rounding of the stored rows.
    pub fn wrong(&self, trial: &Trial) -> Option<String> {
        let case = &trial.case;
        if self.bias != case.bias {
            return Some("the biases that are stored are not those that were given".into());
        }
        let keys = (&self.keys[..], &case.keys[..], self.dim);
        let values = self.values.as_deref().zip(case.values.as_deref()).zip(self.value_dim);
        let all = [Some(keys), values.map(|((stored, given), dim)| (stored, given, dim))];
        for (stored, given, dim) in all.into_iter().flatten() {
            for (i, (stored, given)) in stored.chunks(dim).zip(given.chunks(dim)).enumerate() {
                if trial.removed.contains(&i) {
                    continue;
                }
                let largest = given.iter().fold(0.0f64, |most, x| most.max(f64::from(x.abs())));
                for (stored, given) in stored.iter().zip(given) {
                    let given = f64::from(*given);
                    let off = match case.precision {
                        Precision::F32 | Precision::I8Exact => 0.0,
                        // Half a unit of eleven bits, or of the denormals.
                        Precision::F16 => (given.abs() / 2048.0).max(2.0f64.powi(-25)),
                        // Half a level, and the rounding of the scale, which may be flushed to zero.
                        Precision::I8 if largest < 127.5 * TINY => largest,
                        Precision::I8 => largest / 254.0 * 1.0001,
                        other => unreachable!("{other} is of another version"),
                    };
                    let error = (f64::from(*stored) - given).abs();
                    if error > off || error.is_nan() {
                        return Some(format!("pattern {i}: {given:e} is stored as {stored:e} ({:?})", case.precision));
                    }
                }
            }
        }
        None
    }
}
