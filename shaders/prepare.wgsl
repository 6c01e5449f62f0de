//! use lib/grid
// Brings a caller's query rows into the padded rows of the workspace and looks for values that are not finite.
// One workgroup handles one query; one invocation handles every WORKGROUP-th vector of four columns.

const WORKGROUP: u32 = 64u;

struct Params {
    base: vec4<u32>,
    queries: u32,
    columns: u32,
    vectors: u32,
    source_first: u32,
    source_stride: u32,
    width: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> flags: array<u32>;

var<workgroup> not_finite: array<u32, WORKGROUP>;

// The exponent bits of the raw load: float comparisons cannot be trusted to see NaN.
fn load(query: u32, column: u32) -> u32 {
    if (column >= params.columns) {
        return 0u;
    }
    return source[params.source_first + query * params.source_stride + column];
}

fn is_finite(bits: u32) -> bool {
    return (bits & 0x7f800000u) != 0x7f800000u;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = within + params.base.xyz;
    let query = flat_index(workgroup, params.width);
    if (query >= params.queries) {
        return;
    }
    var found = 0u;
    for (var v = local; v < params.vectors; v += WORKGROUP) {
        let bits = vec4<u32>(
            load(query, 4u * v),
            load(query, 4u * v + 1u),
            load(query, 4u * v + 2u),
            load(query, 4u * v + 3u),
        );
        let finite = is_finite(bits.x) && is_finite(bits.y) && is_finite(bits.z) && is_finite(bits.w);
        if (finite) {
            state[query * params.vectors + v] = bitcast<vec4<f32>>(bits);
        } else {
            state[query * params.vectors + v] = vec4<f32>(0.0);
            found = 1u;
        }
    }
    not_finite[local] = found;
    workgroupBarrier();
    if (local == 0u) {
        var any = 0u;
        for (var i = 0u; i < WORKGROUP; i += 1u) {
            any |= not_finite[i];
        }
        flags[query] = any;
    }
}
