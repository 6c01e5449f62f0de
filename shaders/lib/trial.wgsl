// The trial thresholds of one pass of the search: STEPS of them, evenly between the ends of the bracket.

const STEPS: u32 = 8u;
// What a trial is: the logarithm of a weight, that of the largest score or of the pivot, which gives a sum of weights;
// the key of a score that takes the place of the pivot and has no weight itself, which gives a sum, too; or a key,
// which gives the number of scores at or above it.
const TRIAL_NONE: u32 = 0u;
const TRIAL_SUM: u32 = 1u;
const TRIAL_PIVOT: u32 = 2u;
const TRIAL_COUNT: u32 = 3u;

// The ends of the bracket (bits of logarithms, or keys), the largest score or the pivot, and the number of scores above
// the bracket (top-k).
struct Bracket {
    low: u32,
    high: u32,
    maximum: f32,
    above: u32,
}

fn trial_key(low: u32, width: u32, j: u32) -> u32 {
    let parts = STEPS + 1u;
    return low + (width / parts) * (j + 1u) + ((width % parts) * (j + 1u)) / parts;
}

fn trial_log(low: f32, high: f32, j: u32) -> f32 {
    return low + (high - low) * f32(j + 1u) / f32(STEPS + 1u);
}
