//! use lib/mask
//! use lib/own
//! use lib/own_beta
//! use lib/kept
//! use lib/score
//! use lib/compare_dot
//! use lib/stored_f32
//! use lib/stream_keys
//! use lib/listed
// Stage 1 for few queries: the scores of a list of queries against a chunk of patterns, each pattern fetched once for
// QUERIES queries. One workgroup handles ROWS patterns: LANES invocations share the product of a pattern.

const WORKGROUP: u32 = 64u;
const QUERIES: u32 = 4u;
const ROWS: u32 = 32u;
const LANES: u32 = 8u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;
const RECORDS: u32 = 0u;

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
    records_first: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> keep: array<u32>;
@group(0) @binding(6) var<storage, read_write> scores: array<f32>;

var<workgroup> parts: array<f32, QUERIES * ROWS * LANES>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let first_slot = workgroup.y * QUERIES;
    let slots = listed();
    if (first_slot >= slots) {
        return;
    }
    let first = workgroup.x * ROWS;
    let rows = min(ROWS, params.rows - first);
    // Those that are read: none where no query may use any of them.
    let first_row = params.first_row + first;
    let read = select(0u, ROWS, any_kept(first_slot, first_row, first_row + rows - 1u));
    let lane = local % LANES;

    var query: array<u32, QUERIES>;
    for (var q = 0u; q < QUERIES; q += 1u) {
        query[q] = query_at(min(first_slot + q, slots - 1u));
    }
    for (var t = local / LANES; t < read; t += WORKGROUP / LANES) {
        var part: array<f32, QUERIES>;
        for (var q = 0u; q < QUERIES; q += 1u) {
            part[q] = 0.0;
        }
        if (t < rows) {
            for (var c = lane; c < params.key_vectors; c += LANES) {
                let key = key_at(first_row + t, c);
                for (var q = 0u; q < QUERIES; q += 1u) {
                    part[q] += compare(compared[query[q] * params.key_vectors + c], key);
                }
            }
        }
        for (var q = 0u; q < QUERIES; q += 1u) {
            parts[(q * ROWS + t) * LANES + lane] = part[q];
        }
    }
    workgroupBarrier();

    // Others read scores in vectors of four.
    let padded = (rows + 3u) / 4u * 4u;
    for (var i = local; i < QUERIES * read; i += WORKGROUP) {
        let slot = first_slot + i / ROWS;
        let t = i % ROWS;
        if (slot < slots && t < padded) {
            var total = 0.0;
            for (var l = 0u; l < LANES; l += 1u) {
                total += parts[i * LANES + l];
            }
            var z = NO_SCORE;
            if (t < rows) {
                z = score(query_at(slot), first_row + t, total);
            }
            scores[slot * params.score_stride + first + t] = z;
        }
    }
    for (var i = local; i < QUERIES * (ROWS - read); i += WORKGROUP) {
        let slot = first_slot + i / ROWS;
        if (slot < slots && i % ROWS < padded) {
            scores[slot * params.score_stride + first + i % ROWS] = NO_SCORE;
        }
    }
}
