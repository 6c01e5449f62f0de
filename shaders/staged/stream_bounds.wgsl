//! use lib/mask
//! use lib/own
//! use lib/score
//! use lib/kept
//! use lib/listed
// Bounds of the scores of a list of few queries against a chunk of patterns, from keys in 8 bits and queries in 16:
// what the kernels that score `f32` rows compute lies between them (docs/MATH.md). The terms of a row are how far its
// key may be from the `f32` row, its bias, its scale, and its norm. One workgroup handles ROWS patterns: LANES
// invocations share the product of a pattern, a sum of whole numbers.

const WORKGROUP: u32 = 64u;
const QUERIES: u32 = 4u;
const ROWS: u32 = 32u;
const LANES: u32 = 8u;
const KEEP: u32 = 0u;
// Queries have nothing of their own here.
const RECORDS: u32 = 0u;
const EUCLIDEAN: u32 = 0u;
// Whether biases count.
const BIAS: u32 = 1u;

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
    few: f32,
    vanished: f32,
    room: f32,
    flushed: f32,
    records_first: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> levels: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> numbers: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> keys: array<u32>;
@group(0) @binding(5) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> keep: array<u32>;
@group(0) @binding(7) var<storage, read_write> lowers: array<f32>;
@group(0) @binding(8) var<storage, read_write> uppers: array<f32>;

var<workgroup> parts: array<f32, QUERIES * ROWS * LANES>;

// The lower and the upper bound of a similarity: `product` is that of what stands for a query, `number`, and of what
// stands for a key, `term`.
fn similarity_bounds(product: f32, number: vec4<f32>, term: vec4<f32>) -> vec2<f32> {
    // At least the norms of the key and of what stands for it.
    let both = 2.0 * term.w + term.x;
    if (EUCLIDEAN == 1u) {
        let squares = number.y * number.y + term.w * term.w;
        let between = squares - 2.0 * product;
        let slack = params.few * squares;
        let off = term.x + number.w + params.few * (both + number.z) + params.vanished;
        let near = max(sqrt(max(between - slack, 0.0)) - off, 0.0);
        let far = sqrt(max(between + slack, 0.0)) + off;
        return -0.5 * vec2<f32>(far * far * (1.0 + params.rounding), near * near * (1.0 - params.rounding));
    }
    let off = (number.z + number.w) * term.x + (number.w + params.rounding * number.z) * both;
    return vec2<f32>(product - off, product + off);
}

// The same of the score of a row of the window.
fn score_bounds(query: u32, row: u32, total: f32) -> vec2<f32> {
    let begin = params.keep_first + query * params.keep_stride;
    if (KEEP == 1u && !kept(begin, params.window_first + row)) {
        return vec2<f32>(NO_SCORE);
    }
    let term = terms[row];
    let number = numbers[query];
    let bias = select(0.0, term.y, BIAS == 1u);
    let room = params.few * abs(bias) + params.room + params.flushed * (number.z + 2.0 * term.w + term.x);
    let ends = params.beta * similarity_bounds(total * (number.x * term.z), number, term);
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
    let lane = local % LANES;

    var query: array<u32, QUERIES>;
    for (var q = 0u; q < QUERIES; q += 1u) {
        query[q] = query_at(min(first_slot + q, slots - 1u));
    }
    for (var t = local / LANES; t < read; t += WORKGROUP / LANES) {
        var high: array<i32, QUERIES>;
        var low: array<i32, QUERIES>;
        for (var q = 0u; q < QUERIES; q += 1u) {
            high[q] = 0;
            low[q] = 0;
        }
        if (t < rows) {
            for (var c = lane; c < params.key_vectors; c += LANES) {
                let key = keys[(first_row + t) * params.key_vectors + c];
                for (var q = 0u; q < QUERIES; q += 1u) {
                    let level = levels[query[q] * params.key_vectors + c];
                    high[q] += dot4I8Packed(level.x, key);
                    low[q] += dot4I8Packed(level.y, key);
                }
            }
        }
        for (var q = 0u; q < QUERIES; q += 1u) {
            parts[(q * ROWS + t) * LANES + lane] = 254.0 * f32(high[q]) + f32(low[q]);
        }
    }
    workgroupBarrier();

    for (var i = local; i < QUERIES * ROWS; i += WORKGROUP) {
        let slot = first_slot + i / ROWS;
        let t = i % ROWS;
        if (slot < slots && t < rows) {
            var bounds = vec2<f32>(NO_SCORE);
            if (t < read) {
                var total = 0.0;
                for (var l = 0u; l < LANES; l += 1u) {
                    total += parts[i * LANES + l];
                }
                bounds = score_bounds(query_at(slot), first_row + t, total);
            }
            lowers[slot * params.score_stride + first + t] = bounds.x;
            uppers[slot * params.score_stride + first + t] = bounds.y;
        }
    }
}
