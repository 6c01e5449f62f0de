// The trial thresholds of one pass of the search: STEPS of them, evenly between the ends of the bracket.

const STEPS: u32 = 8u;

// The ends of the bracket (bits of ln s, or keys), the largest score or the pivot, the number of scores above the bracket
// (top-k), and what the trials have given so far (bits of a sum, or a count).
struct Bracket {
    low: u32,
    high: u32,
    maximum: f32,
    above: u32,
    given: array<u32, STEPS>,
}

fn trial_key(low: u32, width: u32, j: u32) -> u32 {
    let parts = STEPS + 1u;
    return low + (width / parts) * (j + 1u) + ((width % parts) * (j + 1u)) / parts;
}

fn trial_log(low: f32, high: f32, j: u32) -> f32 {
    return low + (high - low) * f32(j + 1u) / f32(STEPS + 1u);
}
