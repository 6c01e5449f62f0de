//! use lib/score
//! use lib/compare_dot
//! use lib/stored_f32
// Stage 1: the scores of a list of queries against a chunk of patterns, as a register-tiled product.
// One workgroup computes TILE x TILE scores, one invocation 4 x 4 of them, over slabs of SLAB column vectors that the
// workgroup brings into shared memory. Rows of a slab are padded by one vector against bank conflicts.

const TILE: u32 = 64u;
const SIDE: u32 = 16u;
const SLAB: u32 = 4u;
const PITCH: u32 = 5u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;

struct Params {
    base: vec4<u32>,
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> cue: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> keep: array<u32>;
@group(0) @binding(6) var<storage, read_write> scores: array<f32>;

var<workgroup> query_slab: array<vec4<f32>, TILE * PITCH>;
var<workgroup> key_slab: array<vec4<f32>, TILE * PITCH>;

fn store(slot: u32, row: u32, total: f32) {
    if (slot >= queries[0] || row >= params.rows) {
        return;
    }
    var similarity = similarity_of(total);
    var bias = 0.0;
    if (TERMS == 1u) {
        let term = terms[params.first_row + row];
        similarity *= term.x;
        bias = term.y;
    }
    var z = bounded_score(params.beta * similarity + bias);
    if (KEEP == 1u) {
        let bit = params.window_first + params.first_row + row;
        let word = keep[params.keep_first + queries[1u + slot] * params.keep_stride + bit / 32u];
        z = select(NO_SCORE, z, ((word >> (bit % 32u)) & 1u) == 1u);
    }
    scores[slot * params.score_stride + row] = z;
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let workgroup = within + params.base.xyz;
    let first_row = workgroup.x * TILE;
    let first_slot = workgroup.y * TILE;
    if (first_slot >= queries[0]) {
        return;
    }
    // This invocation brings vector `load_column` of slab row `load_row`.
    let load_row = index / SLAB;
    let load_column = index % SLAB;
    let load_query = queries[1u + min(first_slot + load_row, queries[0] - 1u)] * params.key_vectors;
    let load_key = params.first_row + min(first_row + load_row, params.rows - 1u);
    var key_scale = 1.0;
    if (QUANTIZED) {
        key_scale = terms[load_key].z;
    }

    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    for (var base = 0u; base < params.key_vectors; base += SLAB) {
        let c = base + load_column;
        let inside = c < params.key_vectors;
        let c_safe = min(c, params.key_vectors - 1u);
        query_slab[load_row * PITCH + load_column] = select(vec4<f32>(0.0), cue[load_query + c_safe], inside);
        let key = key_scale * unpack_stored(keys[load_key * params.key_vectors + c_safe]);
        key_slab[load_row * PITCH + load_column] = select(vec4<f32>(0.0), key, inside);
        workgroupBarrier();
        for (var k = 0u; k < SLAB; k += 1u) {
            let q_0 = query_slab[local.y * PITCH + k];
            let q_1 = query_slab[(local.y + SIDE) * PITCH + k];
            let q_2 = query_slab[(local.y + 2u * SIDE) * PITCH + k];
            let q_3 = query_slab[(local.y + 3u * SIDE) * PITCH + k];
            let k_0 = key_slab[local.x * PITCH + k];
            let k_1 = key_slab[(local.x + SIDE) * PITCH + k];
            let k_2 = key_slab[(local.x + 2u * SIDE) * PITCH + k];
            let k_3 = key_slab[(local.x + 3u * SIDE) * PITCH + k];
            sum_0 += vec4<f32>(compare(q_0, k_0), compare(q_0, k_1), compare(q_0, k_2), compare(q_0, k_3));
            sum_1 += vec4<f32>(compare(q_1, k_0), compare(q_1, k_1), compare(q_1, k_2), compare(q_1, k_3));
            sum_2 += vec4<f32>(compare(q_2, k_0), compare(q_2, k_1), compare(q_2, k_2), compare(q_2, k_3));
            sum_3 += vec4<f32>(compare(q_3, k_0), compare(q_3, k_1), compare(q_3, k_2), compare(q_3, k_3));
        }
        workgroupBarrier();
    }

    let slot = first_slot + local.y;
    let row = first_row + local.x;
    store(slot, row, sum_0.x);
    store(slot, row + SIDE, sum_0.y);
    store(slot, row + 2u * SIDE, sum_0.z);
    store(slot, row + 3u * SIDE, sum_0.w);
    store(slot + SIDE, row, sum_1.x);
    store(slot + SIDE, row + SIDE, sum_1.y);
    store(slot + SIDE, row + 2u * SIDE, sum_1.z);
    store(slot + SIDE, row + 3u * SIDE, sum_1.w);
    store(slot + 2u * SIDE, row, sum_2.x);
    store(slot + 2u * SIDE, row + SIDE, sum_2.y);
    store(slot + 2u * SIDE, row + 2u * SIDE, sum_2.z);
    store(slot + 2u * SIDE, row + 3u * SIDE, sum_2.w);
    store(slot + 3u * SIDE, row, sum_3.x);
    store(slot + 3u * SIDE, row + SIDE, sum_3.y);
    store(slot + 3u * SIDE, row + 2u * SIDE, sum_3.z);
    store(slot + 3u * SIDE, row + 3u * SIDE, sum_3.w);
}
