//! use lib/grid
// Ends a step: divides the running sums by the sum of weights, writes the next state and, where values were summed, the
// result, and reports the largest change of a coordinate. One workgroup handles one query. The report carries the stamp
// of this run, which the host checks: a command buffer that was killed leaves no stamp.

const WORKGROUP: u32 = 64u;
const NOT_FINITE: u32 = 1u;
const NOTHING_LEFT: u32 = 2u;

struct Params {
    queries: u32,
    columns: u32,
    key_columns: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> running_stats: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> running_sums: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> flags: array<u32>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> result: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> report: array<vec4<u32>>;

var<workgroup> changes: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let query = flat_index(workgroup, grid);
    if (query >= params.queries) {
        return;
    }
    let weight_sum = running_stats[2u * query + params.slot].y;
    var status = flags[query] * NOT_FINITE;
    if (!(weight_sum > 0.0)) {
        status |= NOTHING_LEFT;
    }
    var change = 0.0;
    for (var c = local; c < params.columns; c += WORKGROUP) {
        var row = vec4<f32>(0.0);
        if (status == 0u) {
            row = running_sums[query * params.columns + c] / weight_sum;
        }
        if (c < params.key_columns) {
            let moved = abs(row - state[query * params.key_columns + c]);
            change = max(change, max(max(moved.x, moved.y), max(moved.z, moved.w)));
            state[query * params.key_columns + c] = row;
        } else {
            result[query * (params.columns - params.key_columns) + c - params.key_columns] = row;
        }
    }
    changes[local] = change;
    workgroupBarrier();
    if (local == 0u) {
        for (var i = 1u; i < WORKGROUP; i += 1u) {
            change = max(change, changes[i]);
        }
        report[query] = vec4<u32>(params.stamp, params.step, bitcast<u32>(change), status);
    }
}
