//! use lib/score
//! use lib/own_beta
//! use lib/scaled
//! use lib/weigh_softmax
//! use lib/listed
// Stage 2, softmax and weights that are not normalised: turns the scores of one split into weights in place, under
// softmax exp(z - maximum), and records the split's maximum and sum. One workgroup handles one split of one query of the list.

const WORKGROUP: u32 = 64u;
const RECORDS: u32 = 0u;

struct Params {
    base: vec4<u32>,
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    beta: f32,
    threshold: f32,
    records_first: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> keep: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;

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
        most = max(most, level_of(scores[row + t]));
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

    let beta = beta_of(query_at(slot));
    var sum = 0.0;
    for (var t = begin + local; t < end; t += WORKGROUP) {
        let weighed = weigh(scores[row + t], maximum, beta);
        scores[row + t] = weighed.x;
        sum += weighed.y;
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
