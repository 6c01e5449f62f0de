//! use lib/compare_dot
//! use lib/stored_f32
//! use lib/source
//! use lib/records
//! use lib/score
//! use lib/listed
// The similarities of each query with the patterns on its list that one window has, or with SCORES their scores, by the
// operations of `stream_similarity` in their order. One workgroup handles ENTRIES of one query's list: LANES
// invocations share the product of a pattern.

const WORKGROUP: u32 = 64u;
const ENTRIES: u32 = 8u;
const LANES: u32 = 8u;
const TERMS: u32 = 0u;
const VALUES: u32 = 0u;
const SCORES: u32 = 0u;
// Whether biases count.
const BIAS: u32 = 1u;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    stride: u32,
    window_first: u32,
    window_rows: u32,
    source_vectors: u32,
    beta: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> source: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> heads: array<Head>;
@group(0) @binding(6) var<storage, read> list: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read_write> similarities: array<f32>;

var<workgroup> parts: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.y >= listed()) {
        return;
    }
    let query = query_at(workgroup.y);
    let count = min(heads[query].count, params.stride);
    if (workgroup.x * ENTRIES >= count) {
        return;
    }
    let entry = workgroup.x * ENTRIES + local / LANES;
    let lane = local % LANES;
    // Indices below the window wrap around to large ones.
    var row = params.window_rows;
    if (entry < count) {
        row = list[query * params.capacity + entry].x - params.window_first;
    }
    var part = 0.0;
    if (row < params.window_rows) {
        for (var c = lane; c < params.source_vectors; c += LANES) {
            part += compare(compared[query * params.source_vectors + c], source_at(row, c));
        }
    }
    parts[local] = part;
    workgroupBarrier();
    if (lane == 0u && row < params.window_rows) {
        var total = 0.0;
        for (var l = 0u; l < LANES; l += 1u) {
            total += parts[local + l];
        }
        var similarity = similarity_of(total);
        var bias = 0.0;
        if (TERMS == 1u) {
            similarity *= terms[row].x;
            bias = select(0.0, terms[row].y, BIAS == 1u);
        }
        if (SCORES == 1u) {
            similarity = bounded_score(params.beta * similarity + bias);
        }
        similarities[query * params.stride + entry] = similarity;
    }
}
