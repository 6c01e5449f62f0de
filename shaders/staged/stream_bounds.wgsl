//! use lib/mask
//! use lib/score
//! use lib/compare_dot
//! use lib/stored_i8
//! use lib/stream_keys
//! use lib/stream_rows
//! use lib/listed
// Bounds of the scores of a list of few queries against a chunk of patterns, from keys in 8 bits: what the kernels that
// score `f32` rows compute lies between them (docs/MATH.md). The terms of a row are how far its key may be from the
// `f32` row, its bias, its scale, and a bound of the norms of both together. One workgroup handles ROWS patterns.

const WORKGROUP: u32 = 64u;
const QUERIES: u32 = 4u;
const ROWS: u32 = 32u;
const LANES: u32 = 8u;
const TERMS: u32 = 1u;
const KEEP: u32 = 0u;
const EUCLIDEAN: u32 = 0u;
// Rounding of the few operations that add a bias.
const FEW: f32 = 1.0e-6;

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
    rounding: f32,
    vanished: f32,
    room: f32,
    flushed: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> keep: array<u32>;
@group(0) @binding(6) var<storage, read> norms: array<f32>;
@group(0) @binding(7) var<storage, read_write> lowers: array<f32>;
@group(0) @binding(8) var<storage, read_write> uppers: array<f32>;

// The lower and the upper bound of a similarity: `total` is the sum of what `compare` gives of a query and a key.
fn similarity_bounds(total: f32, norm: f32, term: vec4<f32>) -> vec2<f32> {
    let off = term.x + params.rounding * term.w;
    if (EUCLIDEAN == 1u) {
        let distance = sqrt(total);
        let slack = off + params.rounding * distance + params.vanished;
        let near = max(distance - slack, 0.0);
        let far = distance + slack;
        return -0.5 * vec2<f32>(far * far * (1.0 + params.rounding), near * near * (1.0 - params.rounding));
    }
    return vec2<f32>(total - norm * off, total + norm * off);
}

// The same of the score of a row of the window.
fn score_bounds(query: u32, row: u32, total: f32) -> vec2<f32> {
    let begin = params.keep_first + query * params.keep_stride;
    if (KEEP == 1u && !kept(begin, params.window_first + row)) {
        return vec2<f32>(NO_SCORE);
    }
    let term = terms[row];
    let norm = norms[query];
    let bias = select(0.0, term.y, BIAS == 1u);
    let room = FEW * abs(bias) + params.room + params.flushed * (norm + term.w);
    let ends = params.beta * similarity_bounds(total, norm, term);
    return vec2<f32>(
        bounded_score(min(ends.x, ends.y) + bias - room),
        bounded_score(max(ends.x, ends.y) + bias + room),
    );
}

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
    add_parts(local, first_slot, slots, first_row, rows, read);
    workgroupBarrier();

    for (var i = local; i < QUERIES * ROWS; i += WORKGROUP) {
        let slot = first_slot + i / ROWS;
        let t = i % ROWS;
        if (slot < slots && t < rows) {
            var bounds = vec2<f32>(NO_SCORE);
            if (t < read) {
                bounds = score_bounds(query_at(slot), first_row + t, total_of(i));
            }
            lowers[slot * params.score_stride + first + t] = bounds.x;
            uppers[slot * params.score_stride + first + t] = bounds.y;
        }
    }
}
