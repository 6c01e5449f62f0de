//! use lib/score
//! use lib/listed
// Ends a step for every query of a list: divides the running sums by the sum of weights, writes the next state (known
// coordinates stay as they are) and the result, and reports the largest change of a coordinate. One workgroup handles
// one query. The report carries the stamp of this run, which the host checks: a command buffer that was killed leaves
// none.

const WORKGROUP: u32 = 64u;
const SOFTMAX1: u32 = 0u;
const CLAMP: u32 = 0u;
const NOT_FINITE: u32 = 1u;
const NOTHING_LEFT: u32 = 2u;
const STOPPED: u32 = 4u;
const OUT_OF_RANGE: u32 = 16u;

struct Params {
    base: vec4<u32>,
    columns: u32,
    key_columns: u32,
    result_from: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    known_first: u32,
    known_stride: u32,
    tolerance: f32,
    stops_early: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> running_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> running_sums: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> known: array<u32>;
@group(0) @binding(5) var<storage, read_write> flags: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> result: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> report: array<vec4<u32>>;

var<workgroup> changes: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.x;
    if (slot >= listed()) {
        return;
    }
    let query = query_at(slot);
    let before = flags[query] & (NOT_FINITE | OUT_OF_RANGE);
    let stats = running_stats[2u * slot + params.slot];
    var status = before;
    // A sum of weights is a finite number above zero. Its bits tell, whatever a compiler takes floats for.
    if (bitcast<u32>(stats.y) - 1u >= 0x7f7fffffu) {
        status |= NOTHING_LEFT;
    }
    // numerator / denominator times the sums are the weighted means; softmax1 has one more score, of zero.
    var numerator = 1.0;
    var denominator = stats.y;
    if (SOFTMAX1 == 1u) {
        let maximum = max(stats.x, 0.0);
        numerator = shrink(stats.x, maximum);
        denominator = stats.y * numerator + shrink(0.0, maximum);
    }
    var change = 0.0;
    for (var c = local; c < params.columns; c += WORKGROUP) {
        var row = vec4<f32>(0.0);
        if (status == 0u) {
            row = running_sums[slot * params.columns + c] * numerator / denominator;
        }
        if (c >= params.result_from) {
            result[query * (params.columns - params.result_from) + c - params.result_from] = row;
        }
        if (c < params.key_columns) {
            let old = state[query * params.key_columns + c];
            if (CLAMP == 1u && status == 0u) {
                let word = known[params.known_first + query * params.known_stride + c / 8u];
                let bits = vec4<u32>(word) >> (vec4<u32>(4u * (c % 8u)) + vec4<u32>(0u, 1u, 2u, 3u));
                row = select(row, old, (bits & vec4<u32>(1u)) == vec4<u32>(1u));
            }
            let moved = abs(row - old);
            change = max(change, max(max(moved.x, moved.y), max(moved.z, moved.w)));
            state[query * params.key_columns + c] = row;
        }
    }
    changes[local] = change;
    // The flags have been read by all.
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) {
        for (var i = 1u; i < WORKGROUP; i += 1u) {
            change = max(change, changes[i]);
        }
        report[query] = vec4<u32>(params.stamp, params.step, bitcast<u32>(change), status);
        if (params.stops_early == 1u && change <= params.tolerance) {
            status |= STOPPED;
        }
        flags[query] = before | (status & STOPPED);
    }
}
