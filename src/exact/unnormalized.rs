//! Separations that are not normalised: the weight of a score is a function of that score alone.

use crate::rule::{Rule, Separation};

/// A potential `F`, and how patterns count by it: by `w = F'(z)`, or where self-couplings are taken away by differences
/// of `F`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unnormalized {
    separation: Separation,
    /// How far a score moves when a coordinate of the state flips, `2 beta`; 0 where self-couplings stay.
    flip: f64,
}

/// How one pattern counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Count {
    /// The weight of its rows.
    pub weight: f64,
    /// Its part of `T`, the coupling of a coordinate with itself.
    pub of_self: f64,
}

impl Unnormalized {
    /// How patterns count under `rule` at `beta`; `None` where weights are normalised.
    pub fn of(rule: &Rule, beta: f64) -> Option<Self> {
        let flip = if rule.update.remove_self { 2.0 * beta } else { 0.0 };
        (!rule.separation.is_normalized()).then_some(Self { separation: rule.separation, flip })
    }

    /// How patterns count where self-couplings stay.
    pub fn plain(separation: Separation) -> Self {
        Self { separation, flip: 0.0 }
    }

    /// How a pattern of score `z` counts.
    pub fn count(&self, z: f64) -> Count {
        let Count { weight, of_self } = self.undivided(z);
        Count { weight: weight * self.share(), of_self: of_self * self.share() }
    }

    /// The factor of what [`Unnormalized::undivided`] gives: sums are multiplied by it, and not their terms, so that
    /// sums of integers that are 0 or equal come out so.
    pub fn share(&self) -> f64 {
        match self.separation {
            Separation::Linear if self.flip != 0.0 => 0.5,
            Separation::Power { n } | Separation::Rectified { n } if self.flip != 0.0 => 1.0 / f64::from(n + 1),
            _ => 1.0,
        }
    }

    /// [`Unnormalized::count`] over [`Unnormalized::share`].
    pub fn undivided(&self, z: f64) -> Count {
        let Self { separation, flip } = *self;
        if flip == 0.0 {
            return Count { weight: self.slope(z), of_self: 0.0 };
        }
        match separation {
            Separation::Linear => Count { weight: 2.0 * z, of_self: flip },
            Separation::Power { n } => of_powers(z, flip, n),
            // One that counts on both sides of the flip is a power there.
            Separation::Rectified { n } if z >= flip.abs() => of_powers(z, flip, n),
            Separation::Step { threshold } if z - f64::from(threshold) >= flip.abs() => {
                Count { weight: 1.0, of_self: 0.0 }
            }
            _ => {
                let potential = |z: f64| match separation {
                    Separation::Rectified { n } => power(z.max(0.0), n + 1),
                    _ => self.potential(z),
                };
                let (up, down) = (potential(z + flip), potential(z - flip));
                let of_self = (f64::midpoint(up, down) - potential(z)) / flip;
                Count { weight: (up - down) / (2.0 * flip), of_self }
            }
        }
    }

    /// `F'(z)`.
    fn slope(&self, z: f64) -> f64 {
        match self.separation {
            Separation::Power { n } => power(z, n),
            Separation::Rectified { n } => power(z.max(0.0), n),
            Separation::Step { threshold } => f64::from(z >= f64::from(threshold)),
            _ => z,
        }
    }

    /// `F(z)`.
    pub fn potential(&self, z: f64) -> f64 {
        match self.separation {
            Separation::Power { n } => power(z, n + 1) / f64::from(n + 1),
            Separation::Rectified { n } => power(z.max(0.0), n + 1) / f64::from(n + 1),
            Separation::Step { threshold } => (z - f64::from(threshold)).max(0.0),
            _ => z * z / 2.0,
        }
    }
}

/// `z^n` by repeated squaring, which is exact for integers as far as the result is.
fn power(z: f64, n: u32) -> f64 {
    let (mut power, mut square, mut n) = (1.0, z, n);
    while n > 0 {
        if n & 1 == 1 {
            power *= square;
        }
        square *= square;
        n >>= 1;
    }
    power
}

/// The differences of `z^m`, for `m = n + 1`. `(z + flip)^m` is a sum of three parts, which are sums of products,
/// so that nothing cancels: `z^m`, the terms with odd powers of `flip`, and those with even ones from its square on.
fn of_powers(z: f64, flip: f64, n: u32) -> Count {
    let (mut whole, mut odd, mut even) = (1.0, 0.0, 0.0);
    for _ in 0..=n {
        // Times (z + flip); `odd` and `even` are over `flip`.
        (whole, odd, even) = (whole * z, odd * z + even * flip + whole, even * z + odd * flip);
    }
    Count { weight: odd, of_self: even }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Rule, Similarity};

    fn of(separation: Separation, flip: f64) -> Unnormalized {
        Unnormalized { separation, flip }
    }

    #[test]
    fn hand_computed() {
        let count = |separation, flip, z| {
            let Count { weight, of_self } = of(separation, flip).count(z);
            (weight, of_self)
        };
        // F = z^2 / 2 and z^4 / 4, of which the differences by a flip of 2 are those of z^2 and z^4 over 4 and 8.
        assert_eq!(count(Separation::Linear, 2.0, 5.0), (5.0, 1.0));
        assert_eq!(count(Separation::Power { n: 1 }, 2.0, 5.0), (5.0, 1.0));
        assert_eq!(count(Separation::Power { n: 3 }, 2.0, 5.0), (145.0, 77.0));
        assert_eq!(count(Separation::Power { n: 3 }, 2.0, -5.0), (-145.0, 77.0));
        assert_eq!(count(Separation::Power { n: 2 }, 0.0, -5.0), (25.0, 0.0));
        assert_eq!(count(Separation::Rectified { n: 2 }, 0.0, -5.0), (0.0, 0.0));
        assert_eq!(count(Separation::Rectified { n: 3 }, 2.0, 5.0), (145.0, 77.0));
        // F(3) = 9/2, F(1) = 1/2, F(-1) = 0.
        assert_eq!(count(Separation::Rectified { n: 1 }, 2.0, 1.0), (9.0 / 8.0, 7.0 / 8.0));
        assert_eq!(count(Separation::Step { threshold: 38.0 }, 0.0, 38.0), (1.0, 0.0));
        assert_eq!(count(Separation::Step { threshold: 38.0 }, 2.0, 38.0), (0.5, 0.5));
        assert_eq!(count(Separation::Step { threshold: 38.0 }, 2.0, 41.0), (1.0, 0.0));
    }

    #[test]
    fn differences_are_those_of_the_potential() {
        let separations = [
            Separation::Linear,
            Separation::Power { n: 2 },
            Separation::Power { n: 7 },
            Separation::Rectified { n: 1 },
            Separation::Rectified { n: 4 },
            Separation::Step { threshold: 0.3 },
        ];
        for separation in separations {
            for flip in [2.0, 0.5, -0.25] {
                for i in -40..=40 {
                    let z = f64::from(i) / 8.0;
                    let this = of(separation, flip);
                    let f = |z| this.potential(z);
                    let (up, down) = (f(z + flip), f(z - flip));
                    let expected = [(up - down) / (2.0 * flip), (f64::midpoint(up, down) - f(z)) / flip];
                    let Count { weight, of_self } = this.count(z);
                    for (got, expected) in [weight, of_self].into_iter().zip(expected) {
                        assert!((got - expected).abs() < 1e-9 * (1.0 + up.abs() + down.abs()), "{this:?} at {z}");
                    }
                }
            }
        }
        let rule = Rule::new(Similarity::Dot, Separation::Softmax, 1.0);
        assert!(Unnormalized::of(&rule, 1.0).is_none());
    }
}
