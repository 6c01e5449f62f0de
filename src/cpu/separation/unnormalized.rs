//! Weights that are not normalised, tile by tile: functions of single scores, and the sums of `T` where self-couplings
//! are taken away.

#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::pack::{Form, Query};
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work, by_vectors};
use crate::rule::{Rule, Separation};

/// A potential as a power: `(n + 1) F(z) = s^(n+1)` with `s = z - shift`, or `max(s, 0)` in place of `s`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    n: u32,
    shift: f32,
    rectified: bool,
}

impl Shape {
    fn of(separation: Separation) -> Option<Self> {
        match separation {
            Separation::Linear => Some(Self { n: 1, shift: 0.0, rectified: false }),
            Separation::Power { n } => Some(Self { n, shift: 0.0, rectified: false }),
            Separation::Rectified { n } => Some(Self { n, shift: 0.0, rectified: true }),
            Separation::Step { threshold } => Some(Self { n: 0, shift: threshold, rectified: true }),
            _ => None,
        }
    }
}

/// How patterns count for some queries, and what they have counted so far.
#[derive(Debug)]
pub struct Counting {
    shape: Shape,
    /// Whether self-couplings are taken away.
    removes: bool,
    /// How far scores move when a coordinate flips, `2 beta`, and its inverse, or 0.
    flips: Vec<f32>,
    inverses: Vec<f32>,
    /// Whether any pattern was usable.
    pub any: Vec<bool>,
    /// `T`.
    pub of_self: Vec<f64>,
    /// The factor of the sums of earlier tiles, which is 1.
    pub shrink: Vec<f32>,
}

impl Counting {
    /// For as many lanes as queries are computed with; `None` where weights are normalised.
    pub(in crate::cpu) fn new(rule: &Rule, queries: &[&Query], lanes: usize) -> Option<Self> {
        let mut flips = vec![0.0; lanes];
        flips.iter_mut().zip(queries).for_each(|(flip, query)| *flip = (2.0 * query.beta) as f32);
        let inverses = flips.iter().map(|flip| if *flip == 0.0 { 0.0 } else { 1.0 / flip }).collect();
        Some(Self {
            shape: Shape::of(rule.separation)?,
            removes: rule.update.remove_self,
            flips,
            inverses,
            any: vec![false; lanes],
            of_self: vec![0.0; lanes],
            shrink: vec![1.0; lanes],
        })
    }

    /// Whether sums below the normal numbers may come from scores that are not: those of powers from the square on.
    pub fn may_vanish(separation: Separation) -> bool {
        Shape::of(separation).is_some_and(|shape| shape.n > 1)
    }
}

/// Turns one tile of scores (`-inf` where masked) into weights, and adds to what is counted. The layout of the scores is
/// that of [`Scores`](crate::cpu::similarity::Scores); scores beyond `count` have any value. Returns false where all
/// weights are zero.
pub struct Count<'a> {
    pub form: Form,
    /// Floats from one row of a panel to the next, or from one query to the next, in whole vectors.
    pub pitch: usize,
    pub count: usize,
    /// Whether some scores may be masked.
    pub masked: bool,
    pub scores: &'a mut [f32],
    pub counting: &'a mut Counting,
}

/// The sums of one tile in the lanes of a vector.
#[derive(Clone, Copy)]
struct Lanes<V> {
    flip: V,
    inverse: V,
    /// The sum of magnitudes.
    mass: V,
    of_self: V,
}

impl<V: Copy> Lanes<V> {
    #[inline(always)]
    fn new<S: Simd<Vector = V>>(simd: S, flip: V, inverse: V) -> Self {
        Self { flip, inverse, mass: simd.splat(0.0), of_self: simd.splat(0.0) }
    }

    /// Turns scores at `part` into weights, and adds them.
    #[inline(always)]
    fn fold<S: Simd<Vector = V>>(&mut self, simd: S, shape: Shape, removes: bool, part: &mut [f32]) {
        let z = simd.read(part);
        let used = |value: V| simd.select_ge(z, simd.splat(f32::MIN), value);
        let s = if shape.shift == 0.0 { z } else { simd.sub(z, simd.splat(shape.shift)) };
        let weight = if removes {
            let (weight, of_self) = self.without_self(simd, shape, s);
            self.of_self = simd.add(self.of_self, used(of_self));
            used(weight)
        } else if shape.rectified {
            simd.select_ge(s, simd.splat(0.0), power(simd, s, shape.n))
        } else {
            used(power(simd, s, shape.n))
        };
        simd.write(part, weight);
        self.mass = simd.add(self.mass, simd.abs(weight));
    }

    /// Differences of the potential times `n + 1`: [`undivided`](crate::exact::unnormalized::Unnormalized::undivided).
    #[inline(always)]
    fn without_self<S: Simd<Vector = V>>(&self, simd: S, shape: Shape, s: V) -> (V, V) {
        let m = shape.n + 1;
        let (mut whole, mut odd, mut even) = (simd.splat(1.0), simd.splat(0.0), simd.splat(0.0));
        for _ in 0..m {
            let next = simd.add(simd.mul_add(even, self.flip, simd.mul(odd, s)), whole);
            even = simd.mul_add(odd, self.flip, simd.mul(even, s));
            (whole, odd) = (simd.mul(whole, s), next);
        }
        if !shape.rectified {
            return (odd, even);
        }
        // Where only one side of the flip counts.
        let (zero, half, reach) = (simd.splat(0.0), simd.splat(0.5), simd.abs(self.flip));
        let up = power(simd, simd.max(simd.add(s, reach), zero), m);
        let here = power(simd, simd.max(s, zero), m);
        let weight = simd.mul(simd.mul(half, up), simd.abs(self.inverse));
        let of_self = simd.mul(simd.sub(simd.mul(half, up), here), self.inverse);
        (either(simd, (s, reach), odd, weight), either(simd, (s, reach), even, of_self))
    }
}

/// `x` in the lanes in which `a >= b`, else `y`.
#[inline(always)]
fn either<S: Simd>(simd: S, (a, b): (S::Vector, S::Vector), x: S::Vector, y: S::Vector) -> S::Vector {
    simd.add(simd.select_ge(a, b, x), simd.sub(y, simd.select_ge(a, b, y)))
}

/// `z^n` by repeated squaring.
#[inline(always)]
fn power<S: Simd>(simd: S, z: S::Vector, n: u32) -> S::Vector {
    match n {
        0 => simd.splat(1.0),
        1 => z,
        2 => simd.mul(z, z),
        3 => simd.mul(z, simd.mul(z, z)),
        _ => {
            let (mut power, mut square, mut n) = (simd.splat(1.0), z, n);
            while n > 0 {
                if n & 1 == 1 {
                    power = simd.mul(power, square);
                }
                square = simd.mul(square, square);
                n >>= 1;
            }
            power
        }
    }
}

impl Count<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(self, simd: S) -> bool {
        let width = V * S::LANES;
        let Counting { shape, removes, flips, inverses, of_self, .. } = self.counting;
        let read = |row: &[f32], v: usize| simd.read(&row[v * S::LANES..]);
        let mut lanes: [Lanes<S::Vector>; V] =
            std::array::from_fn(|v| Lanes::new(simd, read(flips, v), read(inverses, v)));
        for row in self.scores[..self.count * width].chunks_exact_mut(width) {
            for v in 0..V {
                lanes[v].fold(simd, *shape, *removes, &mut row[v * S::LANES..]);
            }
        }
        let mut mass = 0.0;
        for (lanes, total) in lanes.iter().zip(of_self.chunks_exact_mut(S::LANES)) {
            mass += simd.reduce_sum(lanes.mass);
            let mut tile = [0.0; MAX_LANES];
            simd.write(&mut tile, lanes.of_self);
            total.iter_mut().zip(tile).for_each(|(total, tile)| *total += f64::from(tile));
        }
        mass != 0.0
    }

    #[inline(always)]
    fn rows<S: Simd>(self, simd: S) -> bool {
        let Counting { shape, removes, flips, inverses, of_self, .. } = self.counting;
        let mut mass = 0.0;
        for (q, scores) in self.scores.chunks_exact_mut(self.pitch).enumerate() {
            let padded = self.count.next_multiple_of(S::LANES);
            scores[self.count..padded].fill(f32::NEG_INFINITY);
            let mut lanes = Lanes::new(simd, simd.splat(flips[q]), simd.splat(inverses[q]));
            for part in scores[..padded].chunks_exact_mut(S::LANES) {
                lanes.fold(simd, *shape, *removes, part);
            }
            of_self[q] += f64::from(simd.reduce_sum(lanes.of_self));
            mass += simd.reduce_sum(lanes.mass);
        }
        mass != 0.0
    }
}

impl Work for Count<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Counting { shape, removes, .. } = &self.counting;
        if !self.masked && !removes && matches!(shape, Shape { n: 1, rectified: false, .. }) {
            // Scores are their own weights.
            return true;
        }
        match self.form {
            Form::Rows => self.rows(simd),
            Form::Panel => by_vectors!(S, self.pitch, self.panel::<S; V>(simd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::level::Level;
    use crate::exact::unnormalized::Unnormalized;
    use crate::rule::{Similarity, Update};

    /// Every level and form counts as the exact definition, also at the edges of a flip, and masked scores not at all.
    #[test]
    fn tiles_count_as_single_scores_do() {
        let separations = [
            Separation::Linear,
            Separation::Power { n: 1 },
            Separation::Power { n: 2 },
            Separation::Power { n: 5 },
            Separation::Power { n: 12 },
            Separation::Rectified { n: 1 },
            Separation::Rectified { n: 4 },
            Separation::Step { threshold: 0.5 },
        ];
        let scores: Vec<f32> =
            (0..37).map(|i| if i % 6 == 5 { f32::NEG_INFINITY } else { (i as f32 - 18.0) / 8.0 }).collect();
        for level in Level::available() {
            let panels = (level.lanes()..=level.panel()).step_by(level.lanes()).map(|width| (Form::Panel, width));
            for (form, width) in std::iter::once((Form::Rows, 0)).chain(panels) {
                for separation in separations {
                    for update in [Update::NONE, Update::NONE.remove_self()] {
                        let rule = Rule::new(Similarity::Dot, separation, 1.0).then(update);
                        let queries = [1.0, 0.25, -0.5].map(|beta| Query::new(0, beta, vec![0.0; 4]));
                        let queries: Vec<&Query> = queries.iter().collect();
                        let (pitch, lanes) = if form == Form::Rows { (48, 3) } else { (width, width) };
                        let place = |q: usize, t: usize| if form == Form::Rows { q * pitch + t } else { t * pitch + q };
                        let mut tile = vec![f32::NAN; pitch * if form == Form::Rows { 3 } else { scores.len() }];
                        for q in 0..lanes {
                            scores.iter().enumerate().for_each(|(t, z)| tile[place(q, t)] = *z);
                        }
                        let mut counting = Counting::new(&rule, &queries, lanes).unwrap();
                        let count = scores.len();
                        let (masked, counts) = (true, &mut counting);
                        assert!(level.run(Count { form, pitch, count, masked, scores: &mut tile, counting: counts }));
                        for (q, query) in queries.iter().enumerate() {
                            let exact = Unnormalized::of(&rule, query.beta).unwrap();
                            let (mut of_self, mut most) = (0.0, 1.0f64);
                            for (t, z) in scores.iter().enumerate() {
                                let got = f64::from(tile[place(q, t)]);
                                let mut expected = Default::default();
                                if *z > f32::NEG_INFINITY {
                                    expected = exact.undivided(f64::from(*z));
                                }
                                let off = (got - expected.weight).abs();
                                let what = format!("{level:?} {form:?} {rule} at {z}: {got}");
                                assert!(off <= 2e-6 * (1.0 + expected.weight.abs()), "{what} for {expected:?}");
                                of_self += expected.of_self;
                                most = most.max(expected.of_self.abs());
                            }
                            let off = (counting.of_self[q] - of_self).abs();
                            assert!(off <= 4e-5 * most, "{level:?} {form:?} {rule}: {off}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_without_weight_is_told() {
        let rule = Rule::new(Similarity::Dot, Separation::Rectified { n: 2 }, 1.0);
        let query = Query::new(0, 1.0, vec![0.0; 4]);
        let mut counting = Counting::new(&rule, &[&query], 1).unwrap();
        for (score, changes) in [(-1.0, false), (f32::NEG_INFINITY, false), (1.0, true), (f32::MAX, true)] {
            let mut scores = vec![score; MAX_LANES];
            let (form, pitch, count, masked) = (Form::Rows, MAX_LANES, 5, true);
            let changed =
                Level::best().run(Count { form, pitch, count, masked, scores: &mut scores, counting: &mut counting });
            assert_eq!(changed, changes, "{score}");
        }
    }
}
