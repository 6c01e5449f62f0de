//! use lib/score
//! use lib/listed
// Stage 2, softmax: turns the scores of one split into exp(z - maximum) in place and records the split's maximum
// and sum. One workgroup handles one split of one query of the list.

const WORKGROUP: u32 = 64u;

struct Params {
    base: vec4<u32>,
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
    padding_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;

var<workgroup> gathered: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let split = workgroup.x;
    let slot = workgroup.y;
    if (slot >= listed()) {
        return;
    }
    let begin = split * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.rows);
    let row = slot * params.score_stride;

    var most = NO_SCORE;
    for (var t = begin + local; t < end; t += WORKGROUP) {
        most = max(most, scores[row + t]);
    }
    gathered[local] = most;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            gathered[local] = max(gathered[local], gathered[local + half]);
        }
        workgroupBarrier();
    }
    let maximum = gathered[0];
    workgroupBarrier();

    var sum = 0.0;
    for (var t = begin + local; t < end; t += WORKGROUP) {
        let weight = softmax_weight(scores[row + t], maximum);
        scores[row + t] = weight;
        sum += weight;
    }
    gathered[local] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            gathered[local] += gathered[local + half];
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        stats[slot * params.splits + split] = vec2<f32>(maximum, gathered[0]);
    }
}
