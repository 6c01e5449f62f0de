//! use lib/grid
// Brings a caller's query rows into the padded rows of the workspace, with zeros for values that are not finite or
// beyond the range of right answers, and flags their queries.
// One workgroup handles one query; one invocation handles every WORKGROUP-th vector of four columns.

const WORKGROUP: u32 = 64u;
// Whether queries have flags already, from another vector of each.
const FURTHER: u32 = 0u;
const NOT_FINITE: u32 = 1u;
const OUT_OF_RANGE: u32 = 16u;

struct Params {
    base: vec4<u32>,
    queries: u32,
    columns: u32,
    vectors: u32,
    source_first: u32,
    source_stride: u32,
    width: u32,
    smallest: f32,
    largest: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> flags: array<u32>;

var<workgroup> found_by: array<u32, WORKGROUP>;
var<workgroup> largest_by: array<u32, WORKGROUP>;

// The exponent bits of the raw load: float comparisons cannot be trusted to see NaN.
fn load(query: u32, column: u32) -> u32 {
    if (column >= params.columns) {
        return 0u;
    }
    return source[params.source_first + query * params.source_stride + column];
}

// Which flag a value gives its query. Magnitudes order as their bits do.
fn flag_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f800000u) {
        return NOT_FINITE;
    }
    return select(0u, OUT_OF_RANGE, magnitude > bitcast<u32>(params.largest));
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
    if (FURTHER == 1u) {
        found = flags[query];
    }
    var most = 0u;
    for (var v = local; v < params.vectors; v += WORKGROUP) {
        let bits = vec4<u32>(
            load(query, 4u * v),
            load(query, 4u * v + 1u),
            load(query, 4u * v + 2u),
            load(query, 4u * v + 3u),
        );
        let flags_of = flag_of(bits.x) | flag_of(bits.y) | flag_of(bits.z) | flag_of(bits.w);
        // No bits that are not a finite number become a float.
        state[query * params.vectors + v] = bitcast<vec4<f32>>(select(vec4<u32>(0u), bits, flags_of == 0u));
        found |= flags_of;
        let magnitudes = bits & vec4<u32>(0x7fffffffu);
        most = max(most, max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w)));
    }
    found_by[local] = found;
    largest_by[local] = most;
    // The flags have been read by all.
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) {
        var any = 0u;
        for (var i = 0u; i < WORKGROUP; i += 1u) {
            any |= found_by[i];
            most = max(most, largest_by[i]);
        }
        if (most > 0u && most < bitcast<u32>(params.smallest)) {
            any |= OUT_OF_RANGE;
        }
        flags[query] = any;
    }
}
