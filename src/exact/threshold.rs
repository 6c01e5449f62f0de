//! The entmax weight of a score, relative to a reference score whose weight is known.
//!
//! With `gain = alpha - 1`, the weight of a score `z` is `(gain (z - reference) + s) ^ (1/gain)` where that base is
//! positive, else 0. `e^log_weight` is the weight of the reference score, up to the common factor of all weights, and
//! `s = e^(gain log_weight)`. For `gain <= 1` the reference is the largest score. For `gain > 1` it is the smallest
//! score that has weight: relative to the largest, the base of a weight at the edge of the support would vanish by
//! rounding (0.1^gain is 1e-49 at alpha = 50). In logarithms every alpha above 1 is well conditioned.

/// How a score becomes its weight, up to a common factor near 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    gain: f64,
    reference: f64,
    log_weight: f64,
    s: f64,
}

impl Threshold {
    /// The threshold at which `reference` has the weight `e^log_weight`.
    pub fn new(gain: f64, reference: f64, log_weight: f64) -> Self {
        Self::from_parts(gain, reference, log_weight, (gain * log_weight).exp())
    }

    /// The threshold at which `reference` has the weight `s ^ (1/gain)`.
    pub fn with_base(gain: f64, reference: f64, s: f64) -> Self {
        Self::from_parts(gain, reference, s.ln() / gain, s)
    }

    /// The threshold at which `reference` has the weight `e^log_weight = s ^ (1/gain)`, of which both are known.
    pub fn from_parts(gain: f64, reference: f64, log_weight: f64, s: f64) -> Self {
        Self { gain, reference, log_weight, s }
    }

    pub fn alpha(&self) -> f64 {
        1.0 + self.gain
    }

    /// How far `gain z` is above the threshold.
    pub fn gap(&self, score: f64) -> f64 {
        self.gain * (score - self.reference) + self.s
    }

    /// The weight of a score.
    pub fn weight(&self, score: f64) -> f64 {
        if self.gain == 1.0 {
            return self.gap(score).max(0.0);
        }
        if self.gain == 0.5 {
            return self.gap(score).max(0.0).powi(2);
        }
        let above = self.gain * (score - self.reference);
        if above > 0.0 {
            let log = above.ln() / self.gain;
            let (high, low) = (log.max(self.log_weight), log.min(self.log_weight));
            return (high + (self.gain * (low - high)).exp().ln_1p() / self.gain).exp();
        }
        if above == 0.0 {
            return self.log_weight.exp();
        }
        // Where the reference is the smallest score that has weight, lower scores have none, whatever weight is tried
        // for it.
        let share = if self.gain > 1.0 { -1.0 } else { above / self.s };
        if share <= -1.0 { 0.0 } else { (self.log_weight + share.ln_1p() / self.gain).exp() }
    }

    /// The weight of a score, and its derivative by the weight of the reference.
    pub fn slope(&self, score: f64) -> WeightSum {
        let weight = self.weight(score);
        let above = self.gain * (score - self.reference);
        let slope = match weight > 0.0 {
            false => 0.0,
            // Below 1, and so small a power may vanish.
            true if self.gain > 1.0 => ((self.gain - 1.0) * (self.log_weight - weight.ln())).exp(),
            true => self.s / (above + self.s) * weight / self.log_weight.exp(),
        };
        WeightSum { value: weight, slope }
    }
}

/// A sum of weights, and its derivative by the weight of the reference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WeightSum {
    pub value: f64,
    pub slope: f64,
}

impl WeightSum {
    pub fn add(&mut self, other: &Self) {
        self.value += other.value;
        self.slope += other.slope;
    }
}
