//! use lib/score
//! use lib/order
//! use lib/entmax
//! use lib/trial
//! use lib/workgroup
// The search for a threshold over all patterns, for queries whose candidates do not fit a list: evaluates STEPS trial
// thresholds between the bracket's ends over a chunk of scores and adds to what earlier chunks gave. Under entmax a trial
// is ln s, or with PIVOT the key of a score that takes the place of the largest at s = 0, and gives the sum of weights;
// under top-k it is a key and gives the number of scores at or above it. One workgroup handles one query.

const LANES: u32 = 256u;
const TOP: u32 = 0u;
const PIVOT: u32 = 0u;

struct Params {
    base: vec4<u32>,
    rows: u32,
    score_stride: u32,
    gain: f32,
    exponent: f32,
    margin: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> brackets: array<Bracket>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= queries[0]) {
        return;
    }
    let query = queries[1u + workgroup.x];
    let row = workgroup.x * params.score_stride;
    let low = brackets[query].low;
    let high = brackets[query].high;
    var maximum = brackets[query].maximum;
    workgroupBarrier();

    if (TOP == 1u) {
        let width = high - low;
        var mine: array<u32, STEPS>;
        for (var j = 0u; j < STEPS; j += 1u) {
            mine[j] = 0u;
        }
        for (var t = local; t < params.rows; t += LANES) {
            let z = scores[row + t];
            maximum = max(maximum, z);
            if (counts(z)) {
                let key = key_of(z);
                for (var j = 0u; j < STEPS; j += 1u) {
                    mine[j] += u32(key >= trial_key(low, width, j));
                }
            }
        }
        maximum = maximum_of(local, maximum);
        for (var j = 0u; j < STEPS; j += 1u) {
            let count = count_of(local, mine[j]);
            if (local == 0u) {
                brackets[query].given[j] += count;
            }
        }
        if (local == 0u) {
            brackets[query].maximum = maximum;
        }
    } else {
        var s: array<f32, STEPS>;
        var from_score: array<f32, STEPS>;
        var mine: array<f32, STEPS>;
        for (var j = 0u; j < STEPS; j += 1u) {
            if (PIVOT == 1u) {
                s[j] = 0.0;
                from_score[j] = score_of(trial_key(low, high - low, j));
            } else {
                s[j] = exp(trial_log(bitcast<f32>(low), bitcast<f32>(high), j));
                from_score[j] = maximum;
            }
            mine[j] = 0.0;
        }
        for (var t = local; t < params.rows; t += LANES) {
            let z = scores[row + t];
            // Of the first pivot and of the last s most patterns have weight.
            if (counts(z) && entmax_root(z - from_score[0], s[STEPS - 1u]) > 0.0) {
                for (var j = 0u; j < STEPS; j += 1u) {
                    mine[j] += entmax_weight(z - from_score[j], s[j]);
                }
            }
        }
        for (var j = 0u; j < STEPS; j += 1u) {
            let sum = sum_of(local, mine[j]);
            if (local == 0u) {
                brackets[query].given[j] = bitcast<u32>(bitcast<f32>(brackets[query].given[j]) + sum);
            }
        }
    }
}
