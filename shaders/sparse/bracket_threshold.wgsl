//! use lib/score
//! use lib/order
//! use lib/trial
//! use lib/records
//! use lib/listed
// Opens each query's bracket, narrows it by what the trials gave (`similarity`), and ends by writing the record of how
// its scores become weights, to which the sum of the weights is added once it is known, where weights are reported.
// Steep entmax (alpha > 2) searches for the pivot of `solve_threshold` first, then for its weight. Under softmax there
// is nothing to search for: the record comes from the running statistics. One workgroup handles one query: each
// invocation adds up one trial over a part of the splits, the first one does the rest.

const WORKGROUP: u32 = 64u;
const RULE: u32 = 1u;
const SOFTMAX: u32 = 0u;
const ENTMAX: u32 = 1u;
const TOP: u32 = 2u;
const OPEN: u32 = 0u;
const NARROW: u32 = 1u;
const CLOSE: u32 = 2u;
const TURN: u32 = 3u;
const SUM: u32 = 5u;

struct Params {
    base: vec4<u32>,
    stage: u32,
    slot: u32,
    k: u32,
    softmax1: u32,
    lowest: f32,
    margin: f32,
    pivot: u32,
    splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> running_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> heads: array<Head>;
@group(0) @binding(4) var<storage, read> given: array<u32>;
@group(0) @binding(5) var<storage, read_write> brackets: array<Bracket>;
@group(0) @binding(6) var<storage, read_write> records: array<Record>;

// By invocation, then by trial: what the trials gave of some of the splits, and of all.
var<workgroup> parts: array<u32, WORKGROUP>;
var<workgroup> totals: array<u32, STEPS>;
var<workgroup> largest: array<f32, WORKGROUP>;

fn sum_of_two(a: u32, b: u32) -> u32 {
    if (RULE == TOP) {
        return a + b;
    }
    return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b));
}

// What each trial gave of all splits, always added in the same order, and under top-k the largest score.
fn add_up(local: u32, slot: u32) {
    var total = 0u;
    var most = NO_SCORE;
    for (var split = local / STEPS; split < params.splits; split += WORKGROUP / STEPS) {
        let at = (slot * params.splits + split) * (STEPS + 1u);
        total = sum_of_two(total, given[at + local % STEPS]);
        most = max(most, bitcast<f32>(given[at + STEPS]));
    }
    parts[local] = total;
    largest[local] = most;
    workgroupBarrier();
    if (local < STEPS) {
        total = 0u;
        for (var i = local; i < WORKGROUP; i += STEPS) {
            total = sum_of_two(total, parts[i]);
        }
        totals[local] = total;
    }
    workgroupBarrier();
}

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
}

// Trial `j` of a bracket, as the bracket holds its ends.
fn trial_of(low: u32, high: u32, j: u32) -> u32 {
    if (RULE == TOP || params.pivot == 1u) {
        return trial_key(low, high - low, j);
    }
    return bitcast<u32>(trial_log(bitcast<f32>(low), bitcast<f32>(high), j));
}

// Whether the threshold is at a trial or above it. Counts, and sums from a pivot, fall from trial to trial, sums by a
// weight rise.
fn is_below(total: u32) -> bool {
    if (RULE == TOP) {
        return total >= params.k;
    }
    return (bitcast<f32>(total) >= 1.0) == (params.pivot == 1u);
}

fn is_after(trial: u32, low: u32) -> bool {
    if (RULE == TOP || params.pivot == 1u) {
        return trial > low;
    }
    return bitcast<f32>(trial) > bitcast<f32>(low);
}

// A bracket, narrowed by what the trials gave.
fn narrow(before: Bracket) -> Bracket {
    var bracket = before;
    // One step of the ladder holds the threshold: from the last trial below it to the first after that.
    for (var j = 0u; j < STEPS; j += 1u) {
        if (is_below(totals[j])) {
            bracket.low = trial_of(before.low, before.high, j);
        }
    }
    for (var j = 0u; j < STEPS; j += 1u) {
        let total = totals[STEPS - 1u - j];
        let trial = trial_of(before.low, before.high, STEPS - 1u - j);
        if (!is_below(total) && is_after(trial, bracket.low)) {
            bracket.high = trial;
            bracket.above = total;
        }
    }
    if (RULE == TOP) {
        bracket.maximum = NO_SCORE;
        for (var i = 0u; i < WORKGROUP; i += STEPS) {
            bracket.maximum = max(bracket.maximum, largest[i]);
        }
    }
    return bracket;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.x;
    if (slot >= listed()) {
        return;
    }
    if (RULE != SOFTMAX && params.stage != OPEN && params.stage != SUM) {
        add_up(local, slot);
    }
    if (local > 0u) {
        return;
    }
    let query = query_at(slot);
    if (RULE == SOFTMAX) {
        let stats = running_stats[2u * slot + params.slot];
        var maximum = stats.x;
        var sum = stats.y;
        if (params.softmax1 == 1u) {
            maximum = max(stats.x, 0.0);
            sum = stats.y * shrink(stats.x, maximum) + shrink(0.0, maximum);
        }
        records[query] = Record(maximum, 0.0, sum, 0u, 0u, 0.0, 0u, 0u);
        return;
    }
    if (params.stage == SUM) {
        records[query].sum = running_stats[2u * slot + params.slot].y;
        return;
    }
    if (params.stage == OPEN) {
        open(query);
        return;
    }
    var bracket = narrow(brackets[query]);
    if (RULE == ENTMAX && params.stage == TURN) {
        bracket.maximum = pivot_of(bracket.high);
        bracket.low = bitcast<u32>(params.lowest);
        bracket.high = bitcast<u32>(0.0);
    }
    brackets[query] = bracket;
    if (params.stage == CLOSE) {
        if (RULE == TOP) {
            // `low` is the k-th largest key: so many of those that equal it have weight.
            let ties = params.k - min(params.k, bracket.above);
            records[query] = Record(bracket.maximum, 0.0, 0.0, bracket.low, ties, 0.0, 0u, 0u);
        } else {
            let log_weight = bitcast<f32>(bracket.high);
            records[query] = Record(bracket.maximum, exp(log_weight / params.margin), 0.0, 0u, 0u, log_weight, 0u, 0u);
        }
    }
}
