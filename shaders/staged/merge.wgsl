//! use lib/score
//! use lib/scaled
//! use lib/listed
// Folds the partial states of one dispatch's splits into the running state of their query, in the order of the splits.
// One workgroup handles COLUMNS column vectors of one query of the list; WORKGROUP / COLUMNS groups share the splits.
// The running statistics alternate between two slots, because every workgroup of a query reads the old ones.

const WORKGROUP: u32 = 64u;
const COLUMNS: u32 = 16u;

struct Params {
    base: vec4<u32>,
    splits: u32,
    columns: u32,
    slot: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> running_stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> running_sums: array<vec4<f32>>;

var<workgroup> maxima: array<f32, WORKGROUP>;
var<workgroup> weight_sums: array<f32, WORKGROUP>;
var<workgroup> gathered: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.y;
    if (slot >= listed()) {
        return;
    }
    let column = workgroup.x * COLUMNS + local % COLUMNS;
    let group = local / COLUMNS;
    let inside = column < params.columns;
    let first_partial = slot * params.splits;

    // The running state counts as the split before the first; under `first` there is none.
    var before = vec2<f32>(NO_SCORE, 0.0);
    if (params.first == 0u) {
        before = running_stats[2u * slot + params.slot];
    }

    var most = before.x;
    for (var s = local; s < params.splits; s += WORKGROUP) {
        most = max(most, stats[first_partial + s].x);
    }
    maxima[local] = most;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            maxima[local] = max(maxima[local], maxima[local + half]);
        }
        workgroupBarrier();
    }
    let maximum = maxima[0];

    var weight_sum = 0.0;
    var sum = vec4<f32>(0.0);
    if (group == 0u && params.first == 0u) {
        let factor = rescale(before.x, maximum);
        weight_sum = factor * before.y;
        if (inside) {
            sum = factor * running_sums[slot * params.columns + column];
        }
    }
    for (var s = group; s < params.splits; s += WORKGROUP / COLUMNS) {
        let partial = stats[first_partial + s];
        let factor = rescale(partial.x, maximum);
        weight_sum += factor * partial.y;
        if (inside) {
            sum += factor * sums[(first_partial + s) * params.columns + column];
        }
    }
    weight_sums[local] = weight_sum;
    gathered[local] = sum;
    workgroupBarrier();
    if (group == 0u) {
        for (var g = COLUMNS; g < WORKGROUP; g += COLUMNS) {
            weight_sum += weight_sums[local + g];
            sum += gathered[local + g];
        }
        if (inside) {
            running_sums[slot * params.columns + column] = sum;
        }
        if (local == 0u && workgroup.x == 0u) {
            running_stats[2u * slot + 1u - params.slot] = vec2<f32>(maximum, weight_sum);
        }
    }
}
