//! use lib/score
//! use lib/order
//! use lib/trial
//! use lib/records
// Opens each query's bracket, narrows it by what the trials gave, and ends by writing the record of how its scores become
// weights. Steep entmax (alpha > 2) searches for the pivot of `shaders/threshold.wgsl` first, then for s beside it. Under
// softmax there is nothing to search for: the record comes from the running statistics. One invocation handles one query.

const WORKGROUP: u32 = 64u;
const RULE: u32 = 1u;
const SOFTMAX: u32 = 0u;
const ENTMAX: u32 = 1u;
const TOP: u32 = 2u;
const OPEN: u32 = 0u;
const NARROW: u32 = 1u;
const CLOSE: u32 = 2u;
const TURN: u32 = 3u;

struct Params {
    base: vec4<u32>,
    stage: u32,
    slot: u32,
    k: u32,
    softmax1: u32,
    lowest: f32,
    margin: f32,
    pivot: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> running_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> heads: array<Head>;
@group(0) @binding(4) var<storage, read_write> brackets: array<Bracket>;
@group(0) @binding(5) var<storage, read_write> records: array<Record>;

fn open(query: u32) {
    var maximum = NO_SCORE;
    var low = 0u;
    var high = 0xffffffffu;
    if (RULE == ENTMAX) {
        maximum = heads[query].maximum;
        low = bitcast<u32>(params.lowest);
        high = bitcast<u32>(0.0);
        if (params.pivot == 1u) {
            low = key_of(maximum - params.margin);
            high = key_of(maximum);
        }
    }
    brackets[query].low = low;
    brackets[query].high = high;
    brackets[query].maximum = maximum;
    brackets[query].above = 0u;
    for (var j = 0u; j < STEPS; j += 1u) {
        brackets[query].given[j] = 0u;
    }
}

fn narrow(query: u32) {
    let low = brackets[query].low;
    let high = brackets[query].high;
    var new_low = low;
    var new_high = high;
    var above = brackets[query].above;
    // Counts, and sums from a pivot, fall from trial to trial, sums by s rise; in any case one step of the ladder holds the
    // threshold.
    var settled = false;
    for (var j = 0u; j < STEPS; j += 1u) {
        let given = brackets[query].given[j];
        brackets[query].given[j] = 0u;
        if (RULE == TOP) {
            let trial = trial_key(low, high - low, j);
            if (given >= params.k) {
                new_low = max(new_low, trial);
            } else if (!settled && trial > new_low) {
                settled = true;
                new_high = trial;
                above = given;
            }
        } else if (params.pivot == 1u) {
            let trial = trial_key(low, high - low, j);
            if (bitcast<f32>(given) >= 1.0) {
                new_low = max(new_low, trial);
            } else if (!settled && trial > new_low) {
                settled = true;
                new_high = trial;
            }
        } else {
            let trial = bitcast<u32>(trial_log(bitcast<f32>(low), bitcast<f32>(high), j));
            if (bitcast<f32>(given) < 1.0) {
                new_low = trial;
            } else if (!settled) {
                settled = true;
                new_high = trial;
            }
        }
    }
    brackets[query].low = new_low;
    brackets[query].high = new_high;
    brackets[query].above = above;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let slot = id.x + params.base.x * WORKGROUP;
    if (slot >= queries[0]) {
        return;
    }
    let query = queries[1u + slot];
    if (RULE == SOFTMAX) {
        let stats = running_stats[2u * slot + params.slot];
        var maximum = stats.x;
        var sum = stats.y;
        if (params.softmax1 == 1u) {
            maximum = max(stats.x, 0.0);
            sum = stats.y * shrink(stats.x, maximum) + shrink(0.0, maximum);
        }
        records[query] = Record(maximum, 0.0, sum, 0u, 0u, 0u, 0u, 0u);
        return;
    }
    if (params.stage == OPEN) {
        open(query);
        return;
    }
    narrow(query);
    if (params.stage == TURN) {
        brackets[query].maximum = score_of(brackets[query].high);
        brackets[query].low = bitcast<u32>(params.lowest);
        brackets[query].high = bitcast<u32>(0.0);
    }
    if (params.stage == CLOSE) {
        let bracket = brackets[query];
        if (RULE == TOP) {
            // `low` is the k-th largest key: so many of those that equal it have weight.
            let ties = params.k - min(params.k, bracket.above);
            records[query] = Record(bracket.maximum, 0.0, 0.0, bracket.low, ties, 0u, 0u, 0u);
        } else {
            records[query] = Record(bracket.maximum, exp(bitcast<f32>(bracket.high)), 0.0, 0u, 0u, 0u, 0u, 0u);
        }
    }
}
