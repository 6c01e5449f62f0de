// How scores become weights that are functions of one score each. With SELF, patterns count by differences of the
// potential F between the two scores that they have when a coordinate of the state flips, 2 beta apart on either side;
// what is added up is then how much of a coordinate is its own. For kernels that use `lib/score` and have
// `params.threshold`. With SELF, weights of powers are POWER + 1 times as large as they are defined, so that whole
// numbers stay whole.

// Whether couplings of coordinates with themselves are taken away.
const SELF: u32 = 0u;
// The exponent: 1 for linear weights; whether scores below zero have no weight; and whether weights are a step.
const POWER: u32 = 1u;
const RECTIFIED: u32 = 0u;
const STEP: u32 = 0u;
const EXPONENT: u32 = POWER + SELF;

// Four weights, and what is added up of each.
struct Weighed {
    weights: vec4<f32>,
    masses: vec4<f32>,
}

// (z + flip)^n as a sum of three parts, in each of which all terms have one sign: z^n; and over `flip` the terms with
// odd powers of it, and with even ones from its square on.
struct Parts {
    whole: vec4<f32>,
    odd: vec4<f32>,
    even: vec4<f32>,
}

fn times(a: Parts, b: Parts, flip: f32) -> Parts {
    if (SELF == 0u) {
        return Parts(a.whole * b.whole, a.odd, a.even);
    }
    return Parts(
        a.whole * b.whole,
        a.whole * b.odd + a.odd * b.whole + flip * (a.odd * b.even + a.even * b.odd),
        a.whole * b.even + a.even * b.whole + flip * (a.odd * b.odd + a.even * b.even),
    );
}

// Times one more bit of the exponent: the power, if the bit is set.
fn taken(bit: u32, power: Parts, square: Parts, flip: f32) -> Parts {
    if ((EXPONENT & bit) == 0u) {
        return power;
    }
    return times(power, square, flip);
}

// (z + flip)^EXPONENT, by repeated squaring.
fn power_of(z: vec4<f32>, flip: f32) -> Parts {
    var square = Parts(z, vec4<f32>(1.0), vec4<f32>(0.0));
    var power = taken(1u, Parts(vec4<f32>(1.0), vec4<f32>(0.0), vec4<f32>(0.0)), square, flip);
    if (EXPONENT > 1u) {
        square = times(square, square, flip);
        power = taken(2u, power, square, flip);
    }
    if (EXPONENT > 3u) {
        square = times(square, square, flip);
        power = taken(4u, power, square, flip);
    }
    if (EXPONENT > 7u) {
        square = times(square, square, flip);
        power = taken(8u, power, square, flip);
    }
    if (EXPONENT > 15u) {
        square = times(square, square, flip);
        power = taken(16u, power, square, flip);
    }
    if (EXPONENT > 31u) {
        square = times(square, square, flip);
        power = taken(32u, power, square, flip);
    }
    if (EXPONENT > 63u) {
        square = times(square, square, flip);
        power = taken(64u, power, square, flip);
    }
    return power;
}

fn weigh_four(z: vec4<f32>, maximum: f32, counted: vec4<bool>, beta: f32) -> Weighed {
    // No power of what does not count leaves the numbers of f32.
    let score = select(vec4<f32>(0.0), z, counted);
    let zero = vec4<f32>(0.0);
    let flip = 2.0 * beta;
    let reach = vec4<f32>(abs(flip));
    let half = vec4<f32>(0.5 / max(abs(flip), 1.0e-30));
    var weights = zero;
    var masses = zero;
    if (STEP == 1u) {
        let above = score - vec4<f32>(params.threshold);
        weights = select(zero, vec4<f32>(1.0), score >= vec4<f32>(params.threshold));
        masses = weights;
        if (SELF == 1u) {
            let over = above + reach;
            let between = abs(above) < reach;
            weights = select(weights, over * half, between);
            let own = (0.5 * over - max(above, zero)) * (2.0 * half);
            masses = select(zero, select(own, -own, vec4<bool>(flip < 0.0)), between);
        }
    } else {
        var base = score;
        if (RECTIFIED == 1u) {
            base = max(score, zero);
        }
        let power = power_of(base, flip);
        weights = power.whole;
        masses = power.whole;
        if (SELF == 1u) {
            weights = power.odd;
            masses = power.even;
            if (RECTIFIED == 1u) {
                // One that counts on one side of the flip alone.
                let between = abs(score) < reach;
                let over = power_of(max(score + reach, zero), flip).whole;
                let own = (0.5 * over - power.whole) * (2.0 * half);
                let beyond = score >= reach;
                weights = select(select(zero, over * half, between), weights, beyond);
                masses = select(select(zero, select(own, -own, vec4<bool>(flip < 0.0)), between), masses, beyond);
            }
        }
    }
    return Weighed(select(zero, weights, counted), select(zero, masses, counted));
}

// A weight, and what is added up of it.
fn weigh(z: f32, maximum: f32, beta: f32) -> vec2<f32> {
    let weighed = weigh_four(vec4<f32>(z), maximum, vec4<bool>(z >= -SCORE_LIMIT), beta);
    return vec2<f32>(weighed.weights.x, weighed.masses.x);
}

// F(z), for powers POWER + 1 times as large.
fn potential_of(z: f32) -> f32 {
    let counted = z >= -SCORE_LIMIT;
    if (STEP == 1u) {
        return select(0.0, max(z - params.threshold, 0.0), counted);
    }
    var base = select(0.0, z, counted);
    if (RECTIFIED == 1u) {
        base = max(base, 0.0);
    }
    let power = power_of(vec4<f32>(base), 0.0).whole.x;
    if (SELF == 1u) {
        return power;
    }
    return power * base;
}
