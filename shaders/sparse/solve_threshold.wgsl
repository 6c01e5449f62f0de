//! use lib/score
//! use lib/order
//! use lib/entmax
//! use lib/records
//! use lib/list
//! use lib/workgroup
//! use lib/listed
// Solves each query's threshold on its list of candidates and turns the list into the support: indices and unnormalised
// weights, in the order of the patterns. A query whose candidates found no room is flagged for the search over all
// patterns instead. One workgroup handles one query.
//
// entmax: the sum of weights rises with the weight of the largest score, from at most 1 at 1/count to at least 1 at 1
// (Peters et al. 2019): halvings of its logarithm, and where weights are polynomials (alpha 1.5 and 2) one step of
// Newton, which ends on the exact threshold of the support that was found. Where weights are steep (alpha > 2) one at
// the edge of the support is a root of 1e-10 or less, which a sum with the s of the largest score cannot hold: scores
// are then counted from a pivot next to the edge instead, the smallest score such that those above it, if it weighs
// nothing, sum to less than 1. top-k: the k-th largest score, bit by bit, then softmax over what is left; with SCORES
// the k entries keep their scores.

const LANES: u32 = 128u;
const TOP: u32 = 0u;
const SCORES: u32 = 0u;
const SEARCH: u32 = 8u;
const HALVINGS: u32 = 34u;
// The logarithm of the smallest weight that a normal f32 holds.
const LOWEST: f32 = -87.0;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    k: u32,
    margin: f32,
    gain: f32,
    exponent: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read_write> flags: array<u32>;
@group(0) @binding(3) var<storage, read_write> heads: array<Head>;
@group(0) @binding(4) var<storage, read_write> list: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read_write> records: array<Record>;

fn total_at(local: u32, first: u32, count: u32, from_score: f32, s: f32, log_weight: f32) -> f32 {
    var total = 0.0;
    for (var i = local; i < count; i += LANES) {
        total += entmax_weight(score_at(first + i) - from_score, s, log_weight);
    }
    return sum_of(local, total);
}

// How fast the sum of polynomial weights rises with s.
fn slope_at(local: u32, first: u32, count: u32, maximum: f32, s: f32) -> f32 {
    var slope = 0.0;
    for (var i = local; i < count; i += LANES) {
        let root = params.gain * (score_at(first + i) - maximum) + s;
        if (root > 0.0) {
            slope += select(2.0 * root, 1.0, FORM == LINEAR);
        }
    }
    return sum_of(local, slope);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let first = query * params.capacity;
    let head = heads[query];
    let maximum = head.maximum;
    let count = uniform_of(local, min(head.count, params.capacity));
    let lost = head.dropped != 0u && score_of(head.dropped) - maximum > -params.margin;
    if (uniform_of(local, u32(TOP == 0u && lost)) == 1u) {
        if (local == 0u) {
            flags[query] |= SEARCH;
        }
        return;
    }

    var s = 1.0;
    var log_weight = 0.0;
    var pivot = maximum;
    var floor = 0u;
    var ties = 0u;
    if (TOP == 1u) {
        floor = kth_key(local, first, count);
        ties = ties_for(local, first, count, floor);
    } else if (count > 1u) {
        var low = -log(f32(count));
        if (FORM == STEEP) {
            low = LOWEST;
            var below = key_of(maximum - params.margin);
            var above = key_of(maximum);
            for (var i = 0u; i < 32u; i += 1u) {
                let middle = below + (above - below) / 2u;
                if (total_at(local, first, count, score_of(middle), 0.0, NO_LOG) >= 1.0) {
                    below = middle;
                } else {
                    above = middle;
                }
            }
            pivot = pivot_of(above);
        }
        var high = 0.0;
        for (var i = 0u; i < HALVINGS; i += 1u) {
            let middle = 0.5 * (low + high);
            if (total_at(local, first, count, pivot, exp(params.gain * middle), middle) >= 1.0) {
                high = middle;
            } else {
                low = middle;
            }
        }
        log_weight = high;
        s = exp(params.gain * high);
        if (FORM == LINEAR || FORM == SQUARE) {
            let slope = slope_at(local, first, count, pivot, s);
            let excess = total_at(local, first, count, pivot, s, log_weight) - 1.0;
            s = max(s - excess / slope, 0.5 * s);
        }
    }

    // The support, in place.
    var sum = 0.0;
    var kept = 0u;
    var ties_left = ties;
    for (var base = 0u; base < count; base += LANES) {
        let i = base + local;
        var entry = vec2<u32>(0u);
        if (i < count) {
            entry = list[first + i];
        }
        // An entry is read before another takes its place.
        storageBarrier();
        let z = bitcast<f32>(entry.y);
        var weight = 0.0;
        var stays = false;
        if (TOP == 1u) {
            let tied = i < count && key_of(z) == floor;
            let tie = place_of(local, tied);
            if (i < count && (key_of(z) > floor || (tied && tie.before < ties_left))) {
                weight = softmax_weight(z, maximum);
                stays = SCORES == 1u || weight > 0.0;
            }
            ties_left -= min(ties_left, tie.total);
        } else if (i < count) {
            weight = entmax_weight(z - pivot, s, log_weight);
            stays = weight > 0.0;
        }
        let place = place_of(local, stays);
        if (stays) {
            list[first + kept + place.before] = vec2<u32>(entry.x, bitcast<u32>(select(weight, z, SCORES == 1u)));
        }
        kept += place.total;
        sum += weight;
        storageBarrier();
    }
    // The head has been read by all.
    storageBarrier();
    sum = sum_of(local, sum);
    if (local == 0u) {
        heads[query].count = kept;
        records[query] = Record(pivot, s, sum, floor, ties, log_weight, 0u, 0u);
        flags[query] &= ~SEARCH;
    }
}
