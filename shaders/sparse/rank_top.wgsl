//! use lib/score
//! use lib/weigh_softmax
//! use lib/order
//! use lib/rank
//! use lib/entmax
//! use lib/records
//! use lib/listed
// Writes each query's list of the k largest scores in order: positions, the weights that follow from its record, and
// similarities; ties keep the smaller index. One workgroup handles one query.

const LANES: u32 = 128u;
const RULE: u32 = 0u;
const SOFTMAX: u32 = 0u;
const ENTMAX: u32 = 1u;
const UNNORMALIZED: u32 = 3u;
// Which of the buffers the caller wants written.
const POSITIONS: u32 = 1u;
const WEIGHTS: u32 = 2u;
const SIMILARITY: u32 = 4u;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    stride: u32,
    k: u32,
    weighed: u32,
    margin: f32,
    gain: f32,
    exponent: f32,
    factor: f32,
    positions_first: u32,
    positions_stride: u32,
    weights_first: u32,
    weights_stride: u32,
    similarity_first: u32,
    similarity_stride: u32,
    wanted: u32,
    beta: f32,
    threshold: f32,
    divisor: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> heads: array<Head>;
@group(0) @binding(3) var<storage, read> list: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> similarities: array<f32>;
@group(0) @binding(5) var<storage, read> records: array<Record>;
@group(0) @binding(6) var<storage, read_write> positions: array<u32>;
@group(0) @binding(7) var<storage, read_write> weights: array<f32>;
@group(0) @binding(8) var<storage, read_write> similarity: array<f32>;

fn write(query: u32, rank: u32, position: u32, weight: f32, measure: f32) {
    if ((params.wanted & POSITIONS) != 0u) {
        positions[params.positions_first + query * params.positions_stride + rank] = position;
    }
    if ((params.wanted & WEIGHTS) != 0u) {
        weights[params.weights_first + query * params.weights_stride + rank] = weight;
    }
    if ((params.wanted & SIMILARITY) != 0u) {
        similarity[params.similarity_first + query * params.similarity_stride + rank] = measure;
    }
}

// The weight of a score of this rank, unnormalised.
fn weight_of(record: Record, z: f32, rank: u32) -> f32 {
    if (RULE == ENTMAX) {
        return entmax_weight(z - record.maximum, record.s, record.log_weight);
    }
    return select(0.0, softmax_weight(z, record.maximum), RULE == SOFTMAX || rank < params.weighed);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let first = query * params.capacity;
    let count = min(heads[query].count, params.k);
    let record = records[query];
    for (var i = local; i < count; i += LANES) {
        let entry = list[first + i];
        let z = listed_score(first + i);
        let rank = rank_of(first, count, i);
        var share = 0.0;
        if (RULE == UNNORMALIZED) {
            share = weigh(z, 0.0, params.beta).x / params.divisor;
        } else if (record.sum > 0.0) {
            share = weight_of(record, z, rank) / record.sum;
        }
        write(query, rank, entry.x, share, params.factor * similarities[query * params.stride + i] + 0.0);
    }
    for (var i = count + local; i < params.k; i += LANES) {
        write(query, i, NO_PATTERN, 0.0, 0.0);
    }
}
