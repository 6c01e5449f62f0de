//! use lib/workgroup
//! use lib/listed
// Copies the state of every query of a list: as it is, for what is reported of the step that follows, or as
// x / max(|x|, 1e-12), which is what cosine similarity compares. One workgroup handles one query.

const LANES: u32 = 64u;
const NORMALIZE: u32 = 0u;

struct Params {
    base: vec4<u32>,
    vectors: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> compared: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let row = query_at(workgroup.x) * params.vectors;
    if (NORMALIZE == 0u) {
        for (var v = local; v < params.vectors; v += LANES) {
            compared[row + v] = state[row + v];
        }
        return;
    }
    // The largest magnitude is divided out first, so that no square overflows or vanishes.
    var largest = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = abs(state[row + v]);
        largest = max(largest, max(max(x.x, x.y), max(x.z, x.w)));
    }
    largest = max(maximum_of(local, largest), 1.0e-30);
    var square = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = state[row + v] / largest;
        square += dot(x, x);
    }
    let norm = max(largest * sqrt(sum_of(local, square)), 1.0e-12);
    for (var v = local; v < params.vectors; v += LANES) {
        compared[row + v] = state[row + v] / norm;
    }
}
