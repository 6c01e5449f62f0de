//! use lib/workgroup
//! use lib/listed
// An upper bound of the norm of what each query of a list compares with keys, with room for rounding. One workgroup
// handles one query.

const LANES: u32 = 64u;

struct Params {
    base: vec4<u32>,
    vectors: u32,
    rounding: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let row = query * params.vectors;
    // The largest magnitude is divided out first, so that no square overflows or vanishes.
    var largest = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = abs(compared[row + v]);
        largest = max(largest, max(max(x.x, x.y), max(x.z, x.w)));
    }
    largest = max(maximum_of(local, largest), 1.0e-30);
    var square = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = compared[row + v] / largest;
        square += dot(x, x);
    }
    square = sum_of(local, square);
    if (local == 0u) {
        norms[query] = largest * sqrt(square) * (1.0 + params.rounding);
    }
}
