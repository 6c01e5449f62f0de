// Unnormalised entmax weights. A score z weighs (gain (z - from) + s)^exponent where that base is above 0. `from` is
// the largest score, or for steep entmax (alpha > 2) the pivot of `solve_threshold`; a score that equals it weighs
// e^log_weight, and s = e^(gain log_weight). All but the two rules whose weights are polynomials work with the
// logarithm: near alpha = 1 the base would lose the scores, beyond alpha = 2 it would lose the weights. For kernels
// whose params have gain = alpha - 1, margin = 1 / gain and exponent = 1 / gain.

// How a weight is made: by a polynomial at alpha = 2 and 1.5, by logarithms below 2, and by logarithms above. The host
// sets it: which of these runs must be known when a kernel is compiled, for some drivers run all that a uniform value
// leaves out.
const FORM: u32 = 1u;
const LINEAR: u32 = 1u;
const SQUARE: u32 = 2u;
const SHALLOW: u32 = 3u;
const STEEP: u32 = 4u;
// The logarithm of no weight.
const NO_LOG: f32 = -1.0e30;

// The weight of a score that is `difference` above `from`. Beyond the margin no weight is left, whatever the product of
// gain and margin rounds to.
fn entmax_weight(difference: f32, s: f32, log_weight: f32) -> f32 {
    if (difference <= -params.margin) {
        return 0.0;
    }
    if (FORM == LINEAR) {
        return max(difference + s, 0.0);
    }
    if (FORM == SQUARE) {
        let root = max(params.gain * difference + s, 0.0);
        return root * root;
    }
    return exp(entmax_log(difference, s, log_weight));
}

// The logarithm of the weight, for rules other than the two polynomials.
fn entmax_log(difference: f32, s: f32, log_weight: f32) -> f32 {
    let above = params.gain * difference;
    if (FORM == SHALLOW) {
        let share = above / s;
        if (share <= -1.0) {
            return NO_LOG;
        }
        return log_weight + params.exponent * log_1p(share);
    }
    if (above <= 0.0) {
        return select(log_weight, NO_LOG, difference < 0.0);
    }
    // (above + s)^exponent, of which the larger is taken out.
    let log_above = params.exponent * log(above);
    let high = max(log_above, log_weight);
    let low = min(log_above, log_weight);
    return high + params.exponent * log_1p(exp(params.gain * (low - high)));
}

// log(1 + x) for x > -1. The built-in logarithm has an absolute error near 1, which a large exponent multiplies; the
// series of atanh keeps the relative error small.
fn log_1p(x: f32) -> f32 {
    if (abs(x) >= 0.5) {
        return log(1.0 + x);
    }
    let y = x / (2.0 + x);
    let q = y * y;
    let tail = 1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0)));
    return 2.0 * y * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * tail)));
}
