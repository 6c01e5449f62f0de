//! use lib/listed
// What an update of a network recalls from: the product of up to four vectors of each query of a list, coordinate by
// coordinate or of complex numbers, whose coordinates `(re, im)` are next to each other. It goes on from what is there
// already where STARTED says so. A product beyond the range of right answers is zero, and flags its query. One
// workgroup handles one query.

const WORKGROUP: u32 = 64u;
// Vectors of this product, 1 to 4; whether numbers are complex; which vectors are conjugated, as bits.
const COUNT: u32 = 1u;
const COMPLEX: u32 = 0u;
const CONJUGATED: u32 = 0u;
const STARTED: u32 = 0u;
const OUT_OF_RANGE: u32 = 16u;

struct Params {
    base: vec4<u32>,
    vectors: u32,
    largest: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> first: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> second: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> third: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> fourth: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> product: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> flags: array<u32>;

var<workgroup> largest_by: array<f32, WORKGROUP>;

fn conjugate(x: vec4<f32>, bit: u32) -> vec4<f32> {
    return select(x, x * vec4<f32>(1.0, -1.0, 1.0, -1.0), (CONJUGATED & bit) != 0u);
}

fn times(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    if (COMPLEX == 1u) {
        return x.xxzz * y + vec4<f32>(-1.0, 1.0, -1.0, 1.0) * x.yyww * y.yxwz;
    }
    return x * y;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let row = query * params.vectors;
    var most = 0.0;
    for (var v = local; v < params.vectors; v += WORKGROUP) {
        let at = row + v;
        var x = conjugate(first[at], 1u);
        if (STARTED == 1u) {
            x = times(product[at], x);
        }
        if (COUNT > 1u) {
            x = times(x, conjugate(second[at], 2u));
        }
        if (COUNT > 2u) {
            x = times(x, conjugate(third[at], 4u));
        }
        if (COUNT > 3u) {
            x = times(x, conjugate(fourth[at], 8u));
        }
        let magnitude = abs(x);
        most = max(most, max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)));
        // Factors are within the range, so that four of them stay finite.
        product[at] = clamp(x, vec4<f32>(-params.largest), vec4<f32>(params.largest));
    }
    largest_by[local] = most;
    workgroupBarrier();
    if (local == 0u) {
        for (var i = 1u; i < WORKGROUP; i += 1u) {
            most = max(most, largest_by[i]);
        }
        if (most > params.largest) {
            flags[query] |= OUT_OF_RANGE;
        }
    }
}
