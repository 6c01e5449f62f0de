//! Upper and lower bounds of exact scores from sums over 8-bit rows.
#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::bounds::levels::LevelRows;
use crate::cpu::bounds::query::LevelQuery;
use crate::cpu::simd::int8_panel::LANES;
use crate::cpu::simd::vector::{Simd, Work};
use crate::rule::Similarity;

/// What makes bounds of one state from sums of products, as `docs/MATH.md` derives.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Bounds {
    similarity: Similarity,
    beta: f64,
    /// `y^ = step integers`.
    step: f64,
    /// At least `|y^|`.
    rounded_norm: f64,
    /// At least `|y - y^|`.
    error: f64,
    /// At least `|y - y^|`, and as much of `|y|` as the rounding of sums in `f64` may cost.
    key_factor: f64,
    /// `|y^|^2`.
    square: f64,
    /// The relative error of sums of squares, and of everything beside sums.
    roundings: f64,
}

/// Rounding of the few operations that make bounds.
const FEW: f64 = 64.0 * f64::EPSILON;
/// Below differences of scores: products may underflow.
const UNDERFLOW: f64 = 1e-290;

impl Bounds {
    pub fn new(similarity: Similarity, beta: f64, query: &LevelQuery) -> Self {
        let roundings = (query.integers.len() as f64 + 64.0) * f64::EPSILON;
        Self {
            similarity,
            beta,
            step: query.step,
            rounded_norm: query.rounded_norm,
            error: query.error,
            key_factor: query.error + roundings * query.norm,
            square: query.rounded_norm * query.rounded_norm,
            roundings,
        }
    }

    /// Bounds of `<y, k>`, from the sum over the levels of a key and a bound of the norm of what they stand for.
    #[inline(always)]
    fn product(&self, sum: i32, scale: f32, error: f32, norm: f64) -> (f64, f64) {
        let center = self.step * f64::from(sum) * f64::from(scale);
        let width = (self.rounded_norm * f64::from(error) + self.key_factor * norm) * (1.0 + FEW);
        (center, width)
    }

    /// The least and the largest distance `|y - k|`.
    #[inline(always)]
    fn distance(&self, sum: i32, scale: f32, error: f32, square: f64) -> (f64, f64) {
        let both = self.square + square;
        let between = both - 2.0 * (self.step * f64::from(sum) * f64::from(scale));
        // `rounded_norm` is above the norm by its own roundings.
        let slack = 4.0 * self.roundings * both;
        let off = (self.error + f64::from(error)) * (1.0 + FEW);
        let (near, far) = (between - slack, between + slack);
        let near = if near > 0.0 { near } else { 0.0 };
        let far = if far > 0.0 { far } else { 0.0 };
        let least = near.sqrt() * (1.0 - FEW) - off;
        (if least > 0.0 { least } else { 0.0 }, far.sqrt() * (1.0 + FEW) + off)
    }

    /// The lower and the upper bound of the exact score of row `t`, whose sum of products is `sum`.
    #[inline(always)]
    pub fn of_row(&self, sum: i32, rows: &LevelRows<'_>, norms: &[f64], bias: &[f32], t: usize) -> (f64, f64) {
        self.bound(self.similarity, sum, rows, norms, bias, t)
    }

    #[inline(always)]
    fn bound(
        &self,
        similarity: Similarity,
        sum: i32,
        rows: &LevelRows<'_>,
        norms: &[f64],
        bias: &[f32],
        t: usize,
    ) -> (f64, f64) {
        let (scale, error, bias) = (rows.scales[t], rows.errors[t], f64::from(bias[t]));
        let room = bias.abs() * FEW + UNDERFLOW;
        if similarity == Similarity::Euclidean {
            let (near, far) = self.distance(sum, scale, error, rows.squares[t]);
            let near = -0.5 * self.beta * (near * near * (1.0 - self.roundings));
            let far = -0.5 * self.beta * (far * far * (1.0 + self.roundings));
            let (low, high) = if self.beta < 0.0 { (near, far) } else { (far, near) };
            return (low + bias - room, high + bias + room);
        }
        let norm = if similarity == Similarity::Cosine { 1.0 } else { norms[t] };
        let (center, width) = self.product(sum, scale, error, norm);
        let (center, width) = (self.beta * center + bias, self.beta.abs() * width + room);
        (center - width, center + width)
    }
}

/// [`Bounds`] of many states under one rule, side by side.
#[derive(Debug)]
pub(in crate::cpu) struct BoundsPanel {
    /// What the states share; its other numbers are those of the first.
    shared: Bounds,
    /// `step`, `rounded_norm`, `error`, `key_factor` and `square` of each state in whole vectors.
    columns: [Vec<f64>; 5],
}

impl BoundsPanel {
    pub fn new(states: &[&Bounds]) -> Self {
        let numbers = |of: fn(&Bounds) -> f64| {
            let mut column: Vec<f64> = states.iter().map(|bounds| of(bounds)).collect();
            column.resize(states.len().next_multiple_of(LANES), 0.0);
            column
        };
        Self {
            shared: *states[0],
            columns: [
                numbers(|bounds| bounds.step),
                numbers(|bounds| bounds.rounded_norm),
                numbers(|bounds| bounds.error),
                numbers(|bounds| bounds.key_factor),
                numbers(|bounds| bounds.square),
            ],
        }
    }
}

/// Where the upper bounds of some rows reach the floors of the states of a panel.
pub(in crate::cpu) struct Reaching<'a> {
    pub panel: &'a BoundsPanel,
    /// Of row `t` and state `q`: number `t * width + q`, where a width is that of the panel in whole vectors.
    pub sums: &'a [i32],
    pub rows: LevelRows<'a>,
    pub norms: &'a [f64],
    pub bias: &'a [f32],
    /// Of each state; infinite beyond the last.
    pub floors: &'a [f64],
    /// Receives rows with the first state of a vector, of which one at least reaches its floor or has no bound.
    pub reached: &'a mut Vec<(usize, usize)>,
}

impl Work for Reaching<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { panel: BoundsPanel { shared, columns }, sums, rows, norms, bias, floors, reached } = self;
        let width = floors.len();
        let columns: [&[[f64; LANES]]; 5] = std::array::from_fn(|i| columns[i].as_chunks::<LANES>().0);
        let floors = floors.as_chunks::<LANES>().0;
        macro_rules! reaching {
            ($similarity:expr) => {
                for (t, sums) in sums.chunks_exact(width).enumerate().take(bias.len()) {
                    for (v, (sums, floors)) in sums.as_chunks::<LANES>().0.iter().zip(floors).enumerate() {
                        let [step, rounded_norm, error, key_factor, square] = columns.map(|column| &column[v]);
                        let mut below = 0u32;
                        for lane in 0..LANES {
                            let bounds = Bounds {
                                step: step[lane],
                                rounded_norm: rounded_norm[lane],
                                error: error[lane],
                                key_factor: key_factor[lane],
                                square: square[lane],
                                ..*shared
                            };
                            let upper = bounds.bound($similarity, sums[lane], &rows, norms, bias, t).1;
                            below += u32::from(upper < floors[lane]);
                        }
                        if below < LANES as u32 {
                            reached.push((t, v * LANES));
                        }
                    }
                }
            };
        }
        // One loop for each, so that it is vector code.
        match shared.similarity {
            Similarity::Cosine => reaching!(Similarity::Cosine),
            Similarity::Euclidean => reaching!(Similarity::Euclidean),
            _ => reaching!(Similarity::Dot),
        }
    }
}

/// The upper bounds of some rows.
pub(in crate::cpu) struct Uppers<'a> {
    pub bounds: &'a Bounds,
    pub sums: &'a [i32],
    pub rows: LevelRows<'a>,
    pub norms: &'a [f64],
    pub bias: &'a [f32],
    /// As many as rows. NaN where a bound is infinite and its factor zero.
    pub uppers: &'a mut [f64],
}

impl Work for Uppers<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { bounds, sums, rows, norms, bias, uppers } = self;
        let count = uppers.len();
        let (sums, norms, bias) = (&sums[..count], &norms[..count], &bias[..count]);
        let (scales, errors) = (&rows.scales[..count], &rows.errors[..count]);
        macro_rules! bounds_of {
            ($similarity:expr, $squares:expr) => {{
                let rows = LevelRows { scales, errors, squares: $squares, ..rows };
                for (t, upper) in uppers.iter_mut().enumerate() {
                    *upper = bounds.bound($similarity, sums[t], &rows, norms, bias, t).1;
                }
            }};
        }
        // One loop for each, so that it is vector code.
        match bounds.similarity {
            Similarity::Cosine => bounds_of!(Similarity::Cosine, rows.squares),
            Similarity::Euclidean => bounds_of!(Similarity::Euclidean, &rows.squares[..count]),
            _ => bounds_of!(Similarity::Dot, rows.squares),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::bounds::levels::Levels;
    use crate::cpu::pack::Query;
    use crate::cpu::simd::int8::Kernel;
    use crate::cpu::simd::level::Level;
    use crate::exact::scores::{MIN_NORM, key_norm, score, similarity};

    const SIMILARITIES: [Similarity; 3] = [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean];

    /// Keys of all magnitudes, and states that make the error of each key as large as it can be.
    fn attack(dim: usize, scale: f32) -> (Vec<Vec<f32>>, Vec<Vec<f64>>) {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        let mut keys: Vec<Vec<f32>> = [1.0, 1.0, 1e-3, 1e3, 1e-6]
            .into_iter()
            .map(|size| (0..dim).map(|_| scale * size * next()).collect())
            .collect();
        keys.push(vec![0.0; dim]);
        keys.push(vec![1e-45; dim]);
        // One coordinate far above the others, which are half a level.
        keys.push((0..dim).map(|c| if c == 0 { scale } else { scale / 254.0 * 0.999 }).collect());
        let mut states: Vec<Vec<f64>> = (0..3).map(|_| (0..dim).map(|_| f64::from(scale * next())).collect()).collect();
        states.push(vec![0.0; dim]);
        for key in &keys {
            let mut levels = vec![0; dim];
            let step = crate::store::quantize(key, &mut levels);
            let off = |sign: f64| {
                let off = key.iter().zip(&levels).map(move |(k, l)| f64::from(*k) - f64::from(step) * f64::from(*l));
                off.map(move |off| sign * off).collect::<Vec<f64>>()
            };
            states.extend([off(1.0), off(-300.0), key.iter().map(|k| f64::from(*k)).collect()]);
        }
        (keys, states)
    }

    /// How many scores are outside of their bounds where errors are `damage` times what they are, and how many inside.
    fn outside(damage: f32) -> (usize, usize) {
        let (mut outside, mut inside) = (0, 0);
        for (dim, scale) in
            [1, 3, 16, 100, 384, 1000].into_iter().flat_map(|dim| [(dim, 1.0), (dim, 1e-20), (dim, 1e18)])
        {
            let (keys, states) = attack(dim, scale);
            let norms: Vec<f64> = keys.iter().map(|key| key_norm(key)).collect();
            let bias: Vec<f32> = (0..keys.len()).map(|i| [0.0, 1e-3, -5.0, 1e6][i % 4]).collect();
            for (similarity_of, beta) in SIMILARITIES.into_iter().flat_map(|of| [(of, 1.0), (of, -30.0), (of, 0.0)]) {
                let mut levels = Levels::allocate("test", keys.len(), dim, similarity_of).unwrap();
                levels.store(0, &keys.concat(), (dim, dim), &norms);
                let rows = levels.rows(0, keys.len());
                let damaged: Vec<f32> = rows.errors.iter().map(|error| damage * error).collect();
                let rows = LevelRows { errors: &damaged, ..rows };
                for state in &states {
                    let query = Query::new(0, beta, state.clone());
                    let integers = LevelQuery::new(similarity_of, &query, dim).unwrap();
                    let bounds = Bounds::new(similarity_of, beta, &integers);
                    let mut sums = vec![0; keys.len()];
                    Kernel::best().products(&integers.integers, rows.levels, &mut sums);
                    let mut uppers = vec![f64::NAN; keys.len()];
                    for level in Level::available() {
                        let (bounds, sums, norms, bias) = (&bounds, &sums[..], &norms[..], &bias[..]);
                        level.run(Uppers { bounds, sums, rows, norms, bias, uppers: &mut uppers });
                        for (t, upper) in uppers.iter().enumerate() {
                            let same = bounds.of_row(sums[t], &rows, norms, bias, t).1;
                            assert_eq!(same.to_bits(), upper.to_bits(), "{level:?}");
                        }
                    }
                    for (t, key) in keys.iter().enumerate() {
                        let exact = similarity(similarity_of, &query.exact, query.norm, key, norms[t]);
                        let exact = score(beta, exact, bias[t]);
                        let (lower, upper) = bounds.of_row(sums[t], &rows, &norms, &bias, t);
                        if (lower..=upper).contains(&exact) { inside += 1 } else { outside += 1 }
                    }
                }
            }
        }
        (outside, inside)
    }

    #[test]
    fn exact_scores_are_within_their_bounds() {
        let (outside, inside) = outside(1.0);
        assert!(outside == 0 && inside > 10_000, "{outside} outside, {inside} inside");
    }

    /// The control of the test above: damaged errors are found.
    #[test]
    fn scores_are_outside_of_bounds_from_smaller_errors() {
        for damage in [0.0, 0.5, 0.9] {
            assert!(outside(damage).0 > 100, "{damage}");
        }
    }

    #[test]
    fn bounds_are_as_narrow_as_the_error_of_a_key() {
        let dim = 384;
        let (keys, states) = attack(dim, 1.0);
        for of in SIMILARITIES {
            let key = &keys[0];
            let norm = key_norm(key);
            let mut levels = Levels::allocate("test", 1, dim, of).unwrap();
            levels.store(0, key, (dim, dim), &[norm]);
            let rows = levels.rows(0, 1);
            let query = Query::new(0, 1.0, states[0].clone());
            let integers = LevelQuery::new(of, &query, dim).unwrap();
            let mut sums = [0];
            Kernel::best().products(&integers.integers, rows.levels, &mut sums);
            let (lower, upper) = Bounds::new(of, 1.0, &integers).of_row(sums[0], &rows, &[norm], &[0.0], 0);
            let off = f64::from(rows.errors[0]);
            let most = match of {
                Similarity::Dot => query.norm * off,
                Similarity::Cosine => query.norm / query.norm.max(MIN_NORM) * off,
                _ => (-2.0 * similarity(of, &query.exact, query.norm, key, norm)).sqrt() * off,
            };
            assert!(upper - lower <= 2.1 * most, "{of}: {lower} to {upper} for {most}");
        }
    }
}
