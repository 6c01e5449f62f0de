// Unnormalised entmax weights. With t = (alpha-1)(z - max) <= 0 and s = -tau in (0, 1], a pattern weighs
// (t + s)^(1/(alpha-1)) where that is above 0. For kernels whose params have gain = alpha - 1, margin = 1 / gain and
// exponent = 1 / gain.

// t + s where that is above 0, else 0; `difference` is z - max. Beyond the margin t is below -1 and no weight is left,
// whatever the product of gain and margin rounds to.
fn entmax_root(difference: f32, s: f32) -> f32 {
    if (difference <= -params.margin) {
        return 0.0;
    }
    return max(params.gain * difference + s, 0.0);
}

fn entmax_weight(difference: f32, s: f32) -> f32 {
    return power(entmax_root(difference, s), params.exponent);
}

// x^exponent for 0 <= x <= 1. The built-in goes through log2, whose absolute error a large exponent (alpha near 1)
// multiplies; near 1 the series of atanh keeps the logarithm's relative error small instead.
fn power(x: f32, exponent: f32) -> f32 {
    if (x <= 0.0) {
        return 0.0;
    }
    if (exponent == 1.0) {
        return x;
    }
    if (exponent == 2.0) {
        return x * x;
    }
    if (x < 0.5) {
        return pow(x, exponent);
    }
    let y = (x - 1.0) / (x + 1.0);
    let q = y * y;
    let series = 1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0)))));
    return exp(exponent * 2.0 * y * series);
}
