//! use lib/score
//! use lib/workgroup
//! use lib/listed
// Counts the scores of a chunk that are at least `least`, on top of those of the chunks before. One workgroup handles
// one query.

const LANES: u32 = 64u;

struct Params {
    base: vec4<u32>,
    first: u32,
    rows: u32,
    score_stride: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> found: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.x;
    if (slot >= listed()) {
        return;
    }
    let row = slot * params.score_stride;
    var mine = 0u;
    for (var t = local; t < params.rows; t += LANES) {
        let z = scores[row + t];
        mine += select(0u, 1u, counts(z) && z >= params.least);
    }
    let total = count_of(local, mine);
    if (local == 0u) {
        let query = query_at(slot);
        var before = 0u;
        if (params.first == 0u) {
            before = found[query];
        }
        found[query] = before + total;
    }
}
