//! What ends an update: what the weighted sums and the state before become.

use std::fmt;
use std::str::FromStr;

use super::activation::Activation;
use super::text::no_such;
use crate::error::{Error, Result};

/// The most blocks of coordinates.
const MAX_BLOCKS: u32 = 1 << 24;

/// Which weighted sums become the next state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// `sum_i w_i k_i`.
    #[default]
    Keys,
    /// `sum_i w_i v_i`, for values as wide as keys: memory networks, sequences (`v_i = k_(i+1)`), arbitrary matrices
    /// (keys are the rows of `W`, values the unit vectors: `y = W x`).
    Values,
}

/// How beta changes from update to update: from the rule's own in the first to `last` in update number `steps`, by the
/// same factor each time, and then no more.
///
/// Its text is `32 in 500`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Beta from update number `steps` on: finite, not 0, and of the sign of the rule's beta.
    pub last: f32,
    /// The updates that it takes, at least 1.
    pub steps: u32,
}

/// How a state goes on from the weighted sums `y` (of keys, or of values: [`Next`]):
///
/// ```text
/// h  = gain (y - T x) + carry x + field
/// x' = damping x + (1 - damping) activation(h)
/// ```
///
/// `T` is 0 unless [`Update::remove_self`] is set, `field` 0 unless a retrieval gives one
/// ([`RetrieveOptions::field`](crate::RetrieveOptions::field)). By default `x' = y`.
///
/// ```
/// use attractor::rule::{Activation, Update, Zero};
/// let hopfield = Update::default().activation(Activation::Sign { zero: Zero::Keep }).remove_self();
/// assert_eq!(hopfield.to_string(), "sign keep, without self");
/// assert_eq!("sign keep, without self".parse::<Update>()?, hopfield);
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// What is applied in the end.
    pub activation: Activation,
    /// The factor of the sums; finite, 1 by default.
    pub gain: f32,
    /// The factor of the state before; finite, 0 by default.
    pub carry: f32,
    /// The share of the state before in the next one, at least 0 and below 1; 0 by default.
    pub damping: f32,
    /// Whether the coupling of every coordinate with itself is taken away, exactly: see [`Update::remove_self`].
    pub remove_self: bool,
    /// Which sums go on.
    pub next: Next,
    /// A sweep is of this many updates, and each coordinate moves in one of them: coordinates that leave the same
    /// remainder move at once. From 1, the default, to 2^24; with `d` blocks one coordinate moves at a time.
    pub blocks: u32,
    /// Above 0: [`Activation::Sign`] gives 1 with the probability `1 / (1 + exp(-2 h / temperature))`, else -1 (Glauber
    /// dynamics). Finite, 0 by default.
    pub temperature: f32,
    /// The seed of what is drawn by chance.
    pub seed: u32,
    /// How beta changes, if it does.
    pub schedule: Option<Schedule>,
}

impl Default for Update {
    fn default() -> Self {
        Self::NONE
    }
}

impl Update {
    /// `x' = y`.
    pub(crate) const NONE: Self = Self {
        activation: Activation::None,
        gain: 1.0,
        carry: 0.0,
        damping: 0.0,
        remove_self: false,
        next: Next::Keys,
        blocks: 1,
        temperature: 0.0,
        seed: 0,
        schedule: None,
    };

    /// Ends with `activation`.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Multiplies the sums by `gain`.
    pub const fn gain(mut self, gain: f32) -> Self {
        self.gain = gain;
        self
    }

    /// Adds the state before, times `carry`.
    pub const fn carry(mut self, carry: f32) -> Self {
        self.carry = carry;
        self
    }

    /// Keeps this share of the state before.
    pub const fn damping(mut self, damping: f32) -> Self {
        self.damping = damping;
        self
    }

    /// Takes the coupling of every coordinate with itself away: what decides coordinate `c` is then
    /// `sum_i [F(h_ic + b k_ic) - F(h_ic - b k_ic)] / (2 b)`, with `b` the rule's beta and `h_ic` the score of pattern
    /// `i` without coordinate `c`, as in Hopfield (1982), Krotov and Hopfield (2016) and Demircigil et al. (2017). It is
    /// computed from whole scores, by the weights `G(z) = [F(z + 2b) - F(z - 2b)] / (4b)` in place of `F'(z)` and one
    /// number for all coordinates of a query, `T = sum_i {[F(z_i + 2b) + F(z_i - 2b)] / 2 - F(z_i)} / (2b)`; for softmax
    /// by `T = tanh(b)`.
    ///
    /// For dot similarity, keys whose coordinates are all 1 or -1, and the separations that have a potential, or
    /// softmax. But for [`Separation::Linear`](crate::Separation::Linear), states have to be such, too: the activation
    /// is [`Activation::Sign`], which does not make 0 of 0, without damping.
    pub const fn remove_self(mut self) -> Self {
        self.remove_self = true;
        self
    }

    /// Goes on with these sums.
    pub const fn next(mut self, next: Next) -> Self {
        self.next = next;
        self
    }

    /// Moves each coordinate in one of `blocks` updates, in an order that a hash of the seed and of the sweep starts.
    /// [`Retrieval::change`](crate::Retrieval::change) is then that of a sweep, and a query converges at the end of one.
    pub const fn blocks(mut self, blocks: u32) -> Self {
        self.blocks = blocks;
        self
    }

    /// Draws signs at this temperature, from a hash of `seed`, of the query's number in its batch, of the update and of
    /// the coordinate: on every device the same.
    pub const fn temperature(mut self, temperature: f32, seed: u32) -> Self {
        self.temperature = temperature;
        self.seed = seed;
        self
    }

    /// Changes beta from the rule's own to `last` within `steps` updates.
    pub const fn schedule(mut self, last: f32, steps: u32) -> Self {
        self.schedule = Some(Schedule { last, steps });
        self
    }

    /// Whether `x' = y`, whatever the sums are of.
    pub(crate) fn is_plain(&self) -> bool {
        Self { next: Next::Keys, seed: 0, schedule: None, ..*self } == Self::NONE
    }

    /// What beta is multiplied by in update number `step`, from 1, if it is `beta` in the first.
    pub(crate) fn factor_of(&self, step: u32, beta: f32) -> f64 {
        let Some(Schedule { last, steps }) = self.schedule else { return 1.0 };
        let share = if steps > 1 { f64::from(step.min(steps) - 1) / f64::from(steps - 1) } else { 1.0 };
        (f64::from(last) / f64::from(beta)).powf(share)
    }

    /// Whether states are of finitely many kinds, so that a state can come back.
    pub(crate) fn is_discrete(&self) -> bool {
        let kind = matches!(self.activation, Activation::Sign { .. } | Activation::ArgmaxBlocks { .. });
        kind && self.damping == 0.0 && self.temperature == 0.0 && self.blocks == 1 && self.schedule.is_none()
    }

    /// Refuses parameters outside their domains.
    pub(super) fn validate(&self, beta: f32) -> Result<()> {
        let refuse = |parameter, expected, got: String| {
            Err(Error::Parameter { operation: "Rule::validate", parameter, expected, got })
        };
        for (parameter, number) in [("gain", self.gain), ("carry", self.carry)] {
            if !number.is_finite() {
                return refuse(parameter, "finite", number.to_string());
            }
        }
        if !(0.0..1.0).contains(&self.damping) {
            return refuse("damping", "at least 0 and below 1", self.damping.to_string());
        }
        if self.blocks == 0 || self.blocks > MAX_BLOCKS {
            return refuse("blocks", "from 1 to 2^24", self.blocks.to_string());
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", "finite and at least 0", self.temperature.to_string());
        }
        if self.temperature > 0.0 && !matches!(self.activation, Activation::Sign { .. }) {
            return refuse("temperature", "0 unless the activation is a sign", self.temperature.to_string());
        }
        if let Activation::SoftmaxBlocks { width: 0 } | Activation::ArgmaxBlocks { width: 0 } = self.activation {
            return refuse("width", "at least 1", "0".into());
        }
        match self.schedule {
            Some(Schedule { steps: 0, .. }) => refuse("schedule", "at least 1 step", "0".into()),
            Some(Schedule { last, .. }) if !(last * beta.signum() > 0.0 && last.is_finite() && beta != 0.0) => {
                let got = format!("{beta} to {last}");
                refuse("schedule", "from a beta to one that is finite and of its sign, neither of them 0", got)
            }
            _ => Ok(()),
        }
    }

    /// Refuses an activation or sums that do not fit states of `dim` coordinates beside values of `value_dim`.
    pub(crate) fn check_shape(&self, operation: &'static str, dim: usize, value_dim: Option<usize>) -> Result<()> {
        let shape = |expected: String| Err(Error::Shape { operation, expected, got: format!("a dimension of {dim}") });
        match self.activation {
            Activation::Phasor if !dim.is_multiple_of(2) => {
                return shape("an even dimension, for pairs of coordinates (phasor)".into());
            }
            Activation::SoftmaxBlocks { width } | Activation::ArgmaxBlocks { width }
                if !dim.is_multiple_of(width.max(1)) =>
            {
                return shape(format!("a dimension that is a multiple of {width} ({})", self.activation));
            }
            _ => {}
        }
        match (self.next, value_dim) {
            (Next::Values, None) => Err(Error::Shape {
                operation,
                expected: format!("values of {dim} coordinates, which go on as states"),
                got: "a memory without values".into(),
            }),
            (Next::Values, Some(value_dim)) if value_dim != dim => Err(Error::Shape {
                operation,
                expected: format!("values of {dim} coordinates, which go on as states"),
                got: format!("values of {value_dim}"),
            }),
            _ => Ok(()),
        }
    }
}

/// What differs from the default, in parts with commas between them; `none` where nothing does.
impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.activation != Activation::None {
            parts.push(self.activation.to_string());
        }
        for (name, number, default) in
            [("gain", self.gain, 1.0), ("carry", self.carry, 0.0), ("damping", self.damping, 0.0)]
        {
            if number != default {
                parts.push(format!("{name} {number}"));
            }
        }
        if self.remove_self {
            parts.push("without self".into());
        }
        if self.next == Next::Values {
            parts.push("next values".into());
        }
        if self.blocks != 1 {
            parts.push(format!("blocks {}", self.blocks));
        }
        if self.temperature != 0.0 {
            parts.push(format!("temperature {}", self.temperature));
        }
        if self.seed != 0 {
            parts.push(format!("seed {}", self.seed));
        }
        if let Some(Schedule { last, steps }) = self.schedule {
            parts.push(format!("beta to {last} in {steps}"));
        }
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// Reads what [`fmt::Display`] writes, its parts in any order.
impl FromStr for Update {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const EXPECTED: &str = "none, or an activation (`sign keep`, `sign plus`, `sign zero`, `tanh`, `normalize`, \
                                `phasor`, `softmax blocks 10`, `argmax blocks 10`) and parts such as `gain 2`, `carry \
                                1`, `damping 0.5`, `without self`, `next values`, `blocks 4`, `temperature 0.5`, \
                                `seed 7` and `beta to 32 in 500`, each at most once, between commas";
        let mut update = Self::NONE;
        let mut told = Vec::new();
        for part in text.split(',').map(str::trim) {
            let refuse = || no_such("Update::from_str", "update", EXPECTED, part);
            let number = |number: &str| number.parse::<f32>().map_err(|_| refuse());
            let count = |number: &str| number.parse::<u32>().map_err(|_| refuse());
            let (name, rest) = part.split_once(' ').unwrap_or((part, ""));
            let parts = ["gain", "carry", "damping", "without", "next", "blocks", "temperature", "seed", "beta"];
            let name = parts.iter().find(|known| **known == name).copied().unwrap_or("an activation");
            if told.contains(&name) {
                let got = format!("`{part}` after {name} in {text:?}");
                return Err(Error::Parameter {
                    operation: "Update::from_str",
                    parameter: "update",
                    expected: EXPECTED,
                    got,
                });
            }
            told.push(name);
            match (name, rest) {
                ("gain", gain) => update.gain = number(gain)?,
                ("carry", carry) => update.carry = number(carry)?,
                ("damping", damping) => update.damping = number(damping)?,
                ("without", "self") => update.remove_self = true,
                ("next", "values") => update.next = Next::Values,
                ("blocks", blocks) => update.blocks = count(blocks)?,
                ("temperature", temperature) => update.temperature = number(temperature)?,
                ("seed", seed) => update.seed = count(seed)?,
                ("beta", schedule) => {
                    let (last, steps) =
                        schedule.strip_prefix("to ").and_then(|rest| rest.split_once(" in ")).ok_or_else(refuse)?;
                    update.schedule = Some(Schedule { last: number(last)?, steps: count(steps)? });
                }
                _ => update.activation = part.parse().map_err(|_| refuse())?,
            }
        }
        if told.contains(&"seed") && !told.contains(&"temperature") {
            return Err(no_such("Update::from_str", "update", "`seed` with a `temperature`, for which it draws", text));
        }
        Ok(update)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Zero;
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_written() {
        let activations = [
            Activation::None,
            Activation::Sign { zero: Zero::Keep },
            Activation::Sign { zero: Zero::Plus },
            Activation::Sign { zero: Zero::Zero },
            Activation::Tanh,
            Activation::Normalize,
            Activation::Phasor,
            Activation::SoftmaxBlocks { width: 10 },
            Activation::ArgmaxBlocks { width: 3 },
        ];
        for activation in activations {
            let bare = Update::default().activation(activation);
            let full = bare.gain(-2.5).carry(0.1).damping(0.9).remove_self().next(Next::Values).blocks(4);
            for update in [bare, full, full.temperature(0.3, 7).schedule(33.3, 500)] {
                assert_eq!(update.to_string().parse::<Update>().unwrap(), update, "{update}");
            }
        }
        assert_eq!(Update::default().to_string(), "none");
        for text in
            ["", "sign", "sign minus", "gain", "gain x", "blocks -1", "beta to 3", "softmax blocks", "next keys"]
        {
            assert!(text.parse::<Update>().is_err(), "{text}");
        }
        for text in ["sign keep, sign plus", "gain 2, gain 3", "none, sign keep", "seed 3", "gain 2, "] {
            assert!(text.parse::<Update>().is_err(), "{text}");
        }
        assert_eq!("gain 2,carry 1".parse::<Update>().unwrap(), "gain 2, carry 1".parse().unwrap());
    }

    #[test]
    fn refuses_what_is_outside_its_domain() {
        let sign = Update::default().activation(Activation::Sign { zero: Zero::Keep });
        let refused = [
            (sign.gain(f32::NAN), "gain"),
            (sign.carry(f32::INFINITY), "carry"),
            (sign.damping(1.0), "damping"),
            (sign.damping(-0.1), "damping"),
            (sign.blocks(0), "blocks"),
            (sign.temperature(-1.0, 0), "temperature"),
            (Update::default().temperature(1.0, 0), "temperature"),
            (Update::default().activation(Activation::SoftmaxBlocks { width: 0 }), "width"),
            (sign.schedule(-1.0, 5), "schedule"),
            (sign.schedule(2.0, 0), "schedule"),
        ];
        for (update, name) in refused {
            let message = update.validate(1.0).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        assert!(sign.schedule(2.0, 5).validate(0.0).is_err());
        assert!(sign.temperature(0.5, 3).schedule(2.0, 5).validate(1.0).is_ok());
    }

    #[test]
    fn shapes_are_checked() {
        let check = |update: Update, dim, value_dim| update.check_shape("test", dim, value_dim);
        let blocks = Update::default().activation(Activation::ArgmaxBlocks { width: 3 });
        assert!(check(blocks, 9, None).is_ok() && check(blocks, 10, None).is_err());
        let phasor = Update::default().activation(Activation::Phasor);
        assert!(check(phasor, 4, None).is_ok() && check(phasor, 5, None).is_err());
        let values = Update::default().next(Next::Values);
        assert!(check(values, 4, Some(4)).is_ok() && check(values, 4, Some(5)).is_err());
        assert!(check(values, 4, None).unwrap_err().to_string().contains("without values"));
    }
}
