//! What ends an update: what the weighted sums and the state before become.

use crate::cpu::pack::Query;
use crate::cpu::simd::level::vectorized;
use crate::draw::{moving_block, uniform};
use crate::exact::solved::Solved;
use crate::retrieval::options::RetrieveOptions;
use crate::rule::{Activation, Next, Rule, Schedule, Update, Zero};

/// Norms that states are divided by are at least this.
const MIN_NORM: f64 = 1e-12;

/// The updates of one retrieval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Updates<'a> {
    rule: Rule,
    dim: usize,
    options: &'a RetrieveOptions,
}

impl<'a> Updates<'a> {
    pub fn new(rule: Rule, dim: usize, options: &'a RetrieveOptions) -> Self {
        Self { rule, dim, options }
    }

    pub fn options(&self) -> &'a RetrieveOptions {
        self.options
    }

    /// Whether sums of values go on, and none of keys.
    pub fn next_values(&self) -> bool {
        self.rule.update.next == Next::Values
    }

    /// Whether the sums are the state.
    pub fn keeps_sums(&self) -> bool {
        self.is_plain() && self.options.clamp.is_none()
    }

    /// Whether the sums are the state, but for clamped coordinates.
    fn is_plain(&self) -> bool {
        self.rule.update.is_plain() && self.options.per_query.field.is_none()
    }

    /// Whether the sums may leave the range of `f32`: means of rows do not.
    pub fn may_diverge(&self) -> bool {
        !self.is_plain() || !self.rule.separation.is_normalized()
    }

    /// Whether states that come back are looked for.
    pub fn may_cycle(&self) -> bool {
        self.options.stops_early() && self.rule.update.is_discrete()
    }

    /// The beta of the query at `position` in update number `step`, from 1.
    pub fn beta(&self, position: usize, step: u32) -> f64 {
        let beta = match &self.options.per_query.betas {
            Some(betas) => f64::from(betas[position]),
            None => f64::from(self.rule.beta),
        };
        let Some(Schedule { last, steps }) = self.rule.update.schedule else { return beta };
        let ratio = f64::from(last) / f64::from(self.rule.beta);
        let share = if steps > 1 { f64::from(step.min(steps) - 1) / f64::from(steps - 1) } else { 1.0 };
        beta * ratio.powf(share)
    }

    /// Whether a query may have converged in update number `step`: at the end of a sweep.
    pub fn ends_sweep(&self, step: u32) -> bool {
        step.is_multiple_of(self.rule.update.blocks)
    }

    /// Whether update number `step` is the first of a sweep.
    pub fn begins_sweep(&self, step: u32) -> bool {
        (step - 1).is_multiple_of(self.rule.update.blocks)
    }

    /// The field of the query at `position`.
    pub fn field(&self, position: usize) -> Option<&'a [f32]> {
        self.options.per_query.field.as_deref().map(|field| &field[position * self.dim..][..self.dim])
    }

    /// Which coordinates of the query at `position` are clamped.
    fn known(&self, position: usize) -> Option<&'a [bool]> {
        self.options.clamp.as_deref().map(|clamp| &clamp[position * self.dim..][..self.dim])
    }

    /// Makes the weighted sums `y` of the state `x` the state after update number `step`; clamped coordinates are those
    /// of `row`. Returns false, and leaves any numbers, where one leaves the range of `f32`.
    pub fn end(&self, y: &mut [f64], solved: &Solved, (row, x): (&[f32], &Query), step: u32) -> bool {
        let y = &mut y[..self.dim];
        if !self.is_plain() {
            self.local(y, solved, x);
            if !vectorized(|| y.iter().fold(true, |finite, h| finite & h.is_finite())) {
                return false;
            }
            self.activate(y, x, step);
            self.mix(y, &x.exact, step);
        }
        if let Some(known) = self.known(x.position) {
            for ((next, known), given) in y.iter_mut().zip(known).zip(row) {
                if *known {
                    *next = f64::from(*given);
                }
            }
        }
        !self.may_diverge() || in_range(y)
    }

    /// `h = gain (y - T x) + carry x + field`, in place of `y`.
    fn local(&self, y: &mut [f64], solved: &Solved, x: &Query) {
        let (gain, carry) = (f64::from(self.rule.update.gain), f64::from(self.rule.update.carry));
        let of_self = match solved {
            Solved::Unnormalized { of_self, .. } => *of_self,
            _ if self.rule.update.remove_self => x.beta.tanh(),
            _ => 0.0,
        };
        match self.field(x.position) {
            Some(field) => vectorized(|| {
                for ((y, x), field) in y.iter_mut().zip(&x.exact).zip(field) {
                    *y = gain * (*y - of_self * x) + carry * x + f64::from(*field) + 0.0;
                }
            }),
            // No sum is -0.
            None => vectorized(|| {
                for (y, x) in y.iter_mut().zip(&x.exact) {
                    *y = gain * (*y - of_self * x) + carry * x + 0.0;
                }
            }),
        }
    }

    /// The activation of finite `h`, in its place.
    fn activate(&self, h: &mut [f64], x: &Query, step: u32) {
        let update: &Update = &self.rule.update;
        match update.activation {
            Activation::None => {}
            Activation::Sign { .. } if update.temperature > 0.0 => {
                let temperature = f64::from(update.temperature);
                for (c, h) in h.iter_mut().enumerate() {
                    let drawn = f64::from(uniform(update.seed, x.position as u32, step, c as u32));
                    let up = 1.0 / (1.0 + (-2.0 * *h / temperature).exp());
                    *h = if drawn < up { 1.0 } else { -1.0 };
                }
            }
            Activation::Sign { zero } => {
                let sign = |h: f64, of_zero: f64| if h == 0.0 { of_zero } else { 1.0f64.copysign(h) };
                let of_zero = if zero == Zero::Plus { 1.0 } else { 0.0 };
                match zero {
                    Zero::Keep => vectorized(|| h.iter_mut().zip(&x.exact).for_each(|(h, x)| *h = sign(*h, *x))),
                    Zero::Plus | Zero::Zero => vectorized(|| h.iter_mut().for_each(|h| *h = sign(*h, of_zero))),
                }
            }
            Activation::Tanh => h.iter_mut().for_each(|h| *h = h.tanh()),
            Activation::Normalize => normalize(h),
            Activation::Phasor => {
                for pair in h.as_chunks_mut::<2>().0 {
                    let magnitude = pair[0].hypot(pair[1]);
                    *pair = match magnitude > 0.0 {
                        true => pair.map(|part| part / magnitude),
                        false => [1.0, 0.0],
                    };
                }
            }
            Activation::SoftmaxBlocks { width } => h.chunks_exact_mut(width).for_each(softmax),
            Activation::ArgmaxBlocks { width } => h.chunks_exact_mut(width).for_each(argmax),
        }
    }

    /// `damping x + (1 - damping) active` where coordinates move, else `x`.
    fn mix(&self, active: &mut [f64], x: &[f64], step: u32) {
        let Update { damping, blocks, seed, .. } = self.rule.update;
        if damping == 0.0 && blocks == 1 {
            return;
        }
        let (damping, moving) = (f64::from(damping), moving_block(blocks, seed, step) as usize);
        for (c, (active, x)) in active.iter_mut().zip(x).enumerate() {
            *active = match c % blocks as usize == moving {
                true => damping * x + (1.0 - damping) * *active,
                false => *x,
            };
        }
    }
}

/// Whether all numbers are finite in `f32`.
pub(super) fn in_range(numbers: &[f64]) -> bool {
    vectorized(|| numbers.iter().fold(true, |finite, number| finite & (*number as f32).is_finite()))
}

/// Divides a row by its norm, whose squares may be beyond `f64`.
fn normalize(h: &mut [f64]) {
    let largest = h.iter().fold(0.0f64, |largest, h| largest.max(h.abs()));
    let scale = if largest > 1e100 { largest } else { 1.0 };
    let norm = scale * h.iter().map(|h| (h / scale) * (h / scale)).sum::<f64>().sqrt();
    let norm = norm.clamp(MIN_NORM, f64::MAX);
    for h in h {
        *h /= norm;
    }
}

fn softmax(block: &mut [f64]) {
    let largest = block.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for h in block.iter_mut() {
        *h = (*h - largest).exp();
    }
    let sum: f64 = block.iter().sum();
    for h in block {
        *h /= sum;
    }
}

/// 1 at the first of the largest, else 0.
fn argmax(block: &mut [f64]) {
    let mut first = 0;
    for (c, h) in block.iter().enumerate() {
        if *h > block[first] {
            first = c;
        }
    }
    block.iter_mut().enumerate().for_each(|(c, h)| *h = f64::from(u8::from(c == first)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Separation, Similarity};

    fn after(update: Update, y: &[f64], x: &[f64], step: u32) -> Option<Vec<f64>> {
        let (options, rule) = (RetrieveOptions::default(), Rule::new(Similarity::Dot, Separation::Linear, 1.0));
        let mut next = y.to_vec();
        let query = Query::new(0, 1.0, x.to_vec());
        let updates = Updates::new(rule.then(update), y.len(), &options);
        updates.end(&mut next, &Solved::Nothing, (&[], &query), step).then_some(next)
    }

    #[test]
    fn huge_sums_end_in_range_or_are_told() {
        let activation = |activation| Update::NONE.activation(activation);
        let huge = [1e300, -1e300, 0.0, 1e300];
        let normal = after(activation(Activation::Normalize), &huge, &[0.0; 4], 1).unwrap();
        assert!((normal[0] - 1.0 / 3f64.sqrt()).abs() < 1e-15 && normal[2] == 0.0, "{normal:?}");
        let phasors = after(activation(Activation::Phasor), &huge, &[0.0; 4], 1).unwrap();
        assert!((phasors[0] - 0.5f64.sqrt()).abs() < 1e-15 && phasors[3] == 1.0, "{phasors:?}");
        let blocks = after(activation(Activation::SoftmaxBlocks { width: 2 }), &huge, &[0.0; 4], 1);
        assert_eq!(blocks.unwrap(), [1.0, 0.0, 0.0, 1.0]);
        let signs = after(activation(Activation::Sign { zero: Zero::Plus }), &huge, &[0.0; 4], 1);
        assert_eq!(signs.unwrap(), [1.0, -1.0, 1.0, 1.0]);
        assert_eq!(after(activation(Activation::Tanh), &[f64::NAN], &[0.0], 1), None);
        assert_eq!(after(Update::NONE, &huge, &[0.0; 4], 1), None);
        assert_eq!(after(Update::NONE, &[1e38, -1e38], &[0.0; 2], 1), Some(vec![1e38, -1e38]));
        assert_eq!(after(Update::NONE.gain(10.0), &[1e38], &[0.0], 1), None);
    }

    #[test]
    fn blocks_of_one_coordinate_move_in_turn() {
        let update = Update::NONE.blocks(3);
        let mut moved = [0; 3];
        for step in 1..=3 {
            let next = after(update, &[5.0; 3], &[1.0; 3], step).unwrap();
            let at = next.iter().position(|x| *x == 5.0).unwrap();
            assert_eq!(next.iter().sum::<f64>(), 7.0);
            moved[at] += 1;
        }
        assert_eq!(moved, [1; 3]);
    }
}
