//! use lib/score
// Many queries, stage 1: the scores of a block of queries against a chunk of patterns, as a register-tiled product.
// One workgroup computes TILE x TILE scores, one invocation 4 x 4 of them, over slabs of SLAB column vectors that the
// workgroup brings into shared memory. Rows of a slab are padded by one vector against bank conflicts.

const TILE: u32 = 64u;
const SIDE: u32 = 16u;
const SLAB: u32 = 4u;
const PITCH: u32 = 5u;

struct Params {
    queries: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

var<workgroup> query_slab: array<vec4<f32>, TILE * PITCH>;
var<workgroup> key_slab: array<vec4<f32>, TILE * PITCH>;

fn store(query: u32, row: u32, product: f32) {
    if (query < params.queries && row < params.rows) {
        scores[query * params.score_stride + row] = bounded_score(params.beta * product);
    }
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first_row = workgroup.x * TILE;
    let first_query = workgroup.y * TILE;
    // This invocation brings vector `load_column` of slab row `load_row`.
    let load_row = index / SLAB;
    let load_column = index % SLAB;
    let load_query = min(first_query + load_row, params.queries - 1u) * params.key_vectors;
    let load_key = (params.first_row + min(first_row + load_row, params.rows - 1u)) * params.key_vectors;

    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    for (var base = 0u; base < params.key_vectors; base += SLAB) {
        let c = base + load_column;
        let inside = c < params.key_vectors;
        let c_safe = min(c, params.key_vectors - 1u);
        query_slab[load_row * PITCH + load_column] = select(vec4<f32>(0.0), state[load_query + c_safe], inside);
        key_slab[load_row * PITCH + load_column] = select(vec4<f32>(0.0), keys[load_key + c_safe], inside);
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
            sum_0 += vec4<f32>(dot(q_0, k_0), dot(q_0, k_1), dot(q_0, k_2), dot(q_0, k_3));
            sum_1 += vec4<f32>(dot(q_1, k_0), dot(q_1, k_1), dot(q_1, k_2), dot(q_1, k_3));
            sum_2 += vec4<f32>(dot(q_2, k_0), dot(q_2, k_1), dot(q_2, k_2), dot(q_2, k_3));
            sum_3 += vec4<f32>(dot(q_3, k_0), dot(q_3, k_1), dot(q_3, k_2), dot(q_3, k_3));
        }
        workgroupBarrier();
    }

    let query = first_query + local.y;
    let row = first_row + local.x;
    store(query, row, sum_0.x);
    store(query, row + SIDE, sum_0.y);
    store(query, row + 2u * SIDE, sum_0.z);
    store(query, row + 3u * SIDE, sum_0.w);
    store(query + SIDE, row, sum_1.x);
    store(query + SIDE, row + SIDE, sum_1.y);
    store(query + SIDE, row + 2u * SIDE, sum_1.z);
    store(query + SIDE, row + 3u * SIDE, sum_1.w);
    store(query + 2u * SIDE, row, sum_2.x);
    store(query + 2u * SIDE, row + SIDE, sum_2.y);
    store(query + 2u * SIDE, row + 2u * SIDE, sum_2.z);
    store(query + 2u * SIDE, row + 3u * SIDE, sum_2.w);
    store(query + 3u * SIDE, row, sum_3.x);
    store(query + 3u * SIDE, row + SIDE, sum_3.y);
    store(query + 3u * SIDE, row + 2u * SIDE, sum_3.z);
    store(query + 3u * SIDE, row + 3u * SIDE, sum_3.w);
}
