//! How large the numbers of updates become whose sums are not means of rows, or that end with more than the sums.

use crate::retrieval::options::RetrieveOptions;
use crate::rule::{Activation, Rule, Separation};

/// The largest sum of rows, and anything that is made of it.
pub(super) const MAX_SUM: f64 = 1e38;

/// What of a retrieval decides how large the numbers of an update become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    rule: Rule,
    /// The largest magnitude of a field.
    field: f64,
    /// Whether potentials are summed.
    potentials: bool,
}

/// What an update is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    /// Patterns.
    pub patterns: f64,
    /// The largest magnitude of a beta, of a score, of a coordinate of what is summed, and of a state.
    pub beta: f64,
    pub score: f64,
    pub value: f64,
    pub coordinate: f64,
}

impl Growth {
    /// `None` where states are means of rows.
    pub fn of(rule: Rule, options: &RetrieveOptions) -> Option<Self> {
        let field = options.per_query.field.as_deref();
        let plain = rule.separation.is_normalized() && rule.update.is_plain() && field.is_none();
        let field = field.unwrap_or_default().iter().fold(0.0f32, |most, number| most.max(number.abs()));
        (!plain).then_some(Self { rule, field: field.into(), potentials: options.energy || options.trace })
    }

    /// Whether states after the query stay within what it has, or 1; a device watches others.
    pub fn is_bounded(&self) -> bool {
        self.rule.update.activation != Activation::None
    }

    /// Whether no number of an update leaves `f32`.
    pub fn fits(&self, parts: Parts) -> bool {
        let Parts { patterns, value, coordinate, .. } = parts;
        let update = &self.rule.update;
        let most = self.largest_weight(parts);
        let total = if self.rule.separation.is_normalized() { 1.0 } else { patterns * most };
        let own = if update.remove_self { total * coordinate } else { 0.0 };
        let gain = f64::from(update.gain.abs()).max(1.0);
        let local = gain * (total * value + own) + f64::from(update.carry.abs()) * coordinate + self.field;
        most.max(total * value.max(1.0)).max(local) <= MAX_SUM
    }

    /// The largest weight that is not normalised, as devices have it, and the largest potential that is summed.
    fn largest_weight(&self, Parts { beta, score, .. }: Parts) -> f64 {
        let own = self.rule.update.remove_self;
        let reach = score + if own { 2.0 * beta } else { 0.0 };
        let n = match self.rule.separation {
            Separation::Linear => 1,
            Separation::Power { n } | Separation::Rectified { n } => n,
            // The score and the threshold meet in a sum.
            Separation::Step { threshold } if self.potentials => return reach + f64::from(threshold.abs()),
            // Nor are weights of a distribution larger.
            _ => return 1.0,
        };
        let exponent = n + u32::from(own || self.potentials);
        let factor = if own { f64::from((n + 1) * (n + 1)) } else { 1.0 };
        factor * reach.max(1.0).powi(exponent as i32)
    }
}
