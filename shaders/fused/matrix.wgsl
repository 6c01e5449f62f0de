//! use lib/fused_params
//! use lib/mask
//! use lib/vote
//! use lib/listed
//! use lib/score
//! use lib/matrix_16
//! use lib/entries_vector
// Many queries against patterns stored as halves: every stage fused over one split of the patterns, both products by
// cooperative matrices with halves in and f32 out. One workgroup handles one split for GROUP queries; blocks of OUT
// fragments of the sums are a dimension of the grid. Each subgroup has ROWS fragments of queries of its own, whose
// halves and sums it holds in registers, and all of them go through the same tile of PATTERNS patterns. Between the
// products the scores pass through shared memory, where LANES invocations see to each query.
//
// Patterns are exact operands. A query, scaled by a power of two, and a weight are each the sum of PARTS halves: with
// two, products lose no more than f32 does.
//
// Nothing can be done to single rows of a fragment, so sums are kept under a reference that is not quite the maximum:
// only when a score exceeds it by CEILING do the sums go through shared memory to be scaled, which happens a few times
// a split. Until then a weight is at most exp(CEILING) = 16, which a half holds with room for small ones below.
//
// Rows in shared memory are padded by 16 or 32 bytes: then neither fragments nor the rows that invocations read
// conflict.

enable wgpu_cooperative_matrix;
enable f16;

// SUBGROUPS times the size of a subgroup, which is a multiple of ROWS * SIDE.
const WORKGROUP: u32 = 128u;
const SUBGROUPS: u32 = 4u;
// Fragments of queries of a subgroup: 1 or 2.
const ROWS: u32 = 1u;
// Fragments across a key and across the sums, at most 16, and of patterns in a tile: 2, 4 or 8.
const KEYS: u32 = 4u;
const OUT: u32 = 4u;
const SPAN: u32 = 4u;
// Halves that make up an element of a query and a weight: 1 or 2.
const PARTS: u32 = 2u;
// Whether the sums are over the keys, all of them.
const SAME: u32 = 1u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;

const GROUP: u32 = SUBGROUPS * ROWS * SIDE;
const PATTERNS: u32 = SPAN * SIDE;
// Patterns that are skipped at once where no query may use any: a multiple of PATTERNS.
const SKIPPED: u32 = 128u;
const LANES: u32 = WORKGROUP / GROUP;
// Vectors of four across a fragment, and from row to row of what is shared.
const VECTORS: u32 = SIDE / 4u;
const TILE_STRIDE: u32 = max(KEYS, OUT) * VECTORS + 2u;
const WEIGHT_STRIDE: u32 = SPAN * VECTORS + 2u;
const SCORE_STRIDE: u32 = SPAN * VECTORS + 2u;
// From a weight's first part to its second.
const PART_STRIDE: u32 = GROUP * WEIGHT_STRIDE;
// By how much a score may exceed the reference, ln 16, and what a weight of 1 is as a half: 16 times that is 2^15.
const CEILING: f32 = 2.7725887;
const ONE: f32 = 2048.0;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read> values: array<vec4<f16>>;
@group(0) @binding(5) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> keep: array<u32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> sums: array<vec4<f32>>;

// Factor and bias of the patterns of a tile.
var<workgroup> tile_terms: array<vec2<f32>, PATTERNS * TERMS + 1u>;
// One number of each invocation.
var<workgroup> told: array<f32, WORKGROUP>;
// Whether a score of the tile is too far above its query's reference.
var<workgroup> risen: atomic<u32>;

// Of the subgroup: the first of its rows, its queries' halves and its sums, which begin as zero.
var<private> first_row: u32;
var<private> held: array<Left, ROWS * KEYS * PARTS>;
var<private> sum: array<Accumulator, ROWS * OUT>;
// Of the invocation: its row, its place among those that share it, its query, what scores are multiplied by, and the
// query's running state, of which the sum is over this invocation's patterns.
var<private> row: u32;
var<private> lane: u32;
var<private> query: u32;
var<private> unscale: f32;
var<private> reference: f32;
var<private> weight_sum: f32;
// The same of the tile at hand: its largest score and its weights' sum.
var<private> tile_most: f32;
var<private> tile_sum: f32;

fn terms_at(pattern: u32) -> vec2<f32> {
    if (TERMS == 1u) {
        return terms[pattern].xy;
    }
    return vec2<f32>(1.0, 0.0);
}

// Beyond the last column is zero. Beyond the last pattern comes the last one once more, with no weight.
fn key_at(pattern: u32, c: u32) -> vec4<f16> {
    let key = keys[pattern * params.key_vectors + min(c, params.key_vectors - 1u)];
    return select(vec4<f16>(), key, c < params.key_vectors);
}

// Column vectors 0 .. key_columns come from the keys, the rest from the values.
fn payload_at(pattern: u32, column: u32) -> vec4<f16> {
    if (column < params.key_columns) {
        return key_at(pattern, column);
    }
    if (column >= params.columns) {
        return vec4<f16>();
    }
    return values[pattern * params.value_vectors + column - params.key_columns];
}

fn key_entry(i: u32, first: u32, end: u32) -> vec4<f16> {
    return key_at(min(first + i / (KEYS * VECTORS), end - 1u), i % (KEYS * VECTORS));
}

fn put_key(i: u32, key: vec4<f16>) {
    if (i < PATTERNS * KEYS * VECTORS) {
        put_tile(i / (KEYS * VECTORS) * TILE_STRIDE + i % (KEYS * VECTORS), key);
    }
}

// Four fetches are under way at a time.
fn bring_keys(local: u32, first: u32, end: u32) {
    for (var i = local; i < PATTERNS * KEYS * VECTORS; i += 4u * WORKGROUP) {
        let k_0 = key_entry(i, first, end);
        let k_1 = key_entry(i + WORKGROUP, first, end);
        let k_2 = key_entry(i + 2u * WORKGROUP, first, end);
        let k_3 = key_entry(i + 3u * WORKGROUP, first, end);
        put_key(i, k_0);
        put_key(i + WORKGROUP, k_1);
        put_key(i + 2u * WORKGROUP, k_2);
        put_key(i + 3u * WORKGROUP, k_3);
    }
    if (TERMS == 1u) {
        for (var i = local; i < PATTERNS; i += WORKGROUP) {
            tile_terms[i] = terms_at(min(first + i, end - 1u));
        }
    }
}

fn payload_entry(i: u32, first: u32, end: u32, first_column: u32) -> vec4<f16> {
    return payload_at(min(first + i / (OUT * VECTORS), end - 1u), first_column + i % (OUT * VECTORS));
}

fn put_payload(i: u32, payload: vec4<f16>) {
    if (i < PATTERNS * OUT * VECTORS) {
        put_tile(i / (OUT * VECTORS) * TILE_STRIDE + i % (OUT * VECTORS), payload);
    }
}

fn bring_payload(local: u32, first: u32, end: u32, first_column: u32) {
    for (var i = local; i < PATTERNS * OUT * VECTORS; i += 4u * WORKGROUP) {
        let v_0 = payload_entry(i, first, end, first_column);
        let v_1 = payload_entry(i + WORKGROUP, first, end, first_column);
        let v_2 = payload_entry(i + 2u * WORKGROUP, first, end, first_column);
        let v_3 = payload_entry(i + 3u * WORKGROUP, first, end, first_column);
        put_payload(i, v_0);
        put_payload(i + WORKGROUP, v_1);
        put_payload(i + 2u * WORKGROUP, v_2);
        put_payload(i + 3u * WORKGROUP, v_3);
    }
}

// Puts four numbers as PARTS halves each; returns what those are together, but for what the last one loses of two. The
// first is found by its bits: a conversion to a half and back is nothing to a compiler that takes numbers as reals.
fn put_parts(i: u32, numbers: vec4<f32>) -> vec4<f32> {
    let bits = (bitcast<vec4<u32>>(numbers) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u);
    let high = bitcast<vec4<f32>>(bits);
    put_weights(i, vec4<f16>(high));
    if (PARTS == 1u) {
        return high;
    }
    put_weights(PART_STRIDE + i, vec4<f16>(numbers - high));
    return numbers;
}

fn hold_fragment(r: u32, c: u32, k: u32) {
    let at = (first_row + r * SIDE) * WEIGHT_STRIDE + k * VECTORS;
    let to = (r * KEYS + c) * PARTS;
    held[to] = weights_at(at);
    if (PARTS > 1u) {
        held[to + 1u] = weights_at(PART_STRIDE + at);
    }
}

fn hold_fragments(c: u32, k: u32) {
    if (c < KEYS) {
        hold_fragment(0u, c, k);
        if (ROWS > 1u) { hold_fragment(1u, c, k); }
    }
}

// Takes SPAN fragments across the queries, by way of the weights' memory.
fn take_fragments(c: u32, scale: f32) {
    workgroupBarrier();
    for (var v = lane; v < SPAN * VECTORS; v += LANES) {
        let column = c * VECTORS + v;
        let x = compared[query * params.key_vectors + min(column, params.key_vectors - 1u)] * scale;
        put_parts(row * WEIGHT_STRIDE + v, select(vec4<f32>(), x, column < params.key_vectors));
    }
    workgroupBarrier();
    hold_fragments(c, 0u);
    hold_fragments(c + 1u, 1u);
    if (SPAN > 2u) {
        hold_fragments(c + 2u, 2u);
        hold_fragments(c + 3u, 3u);
    }
    if (SPAN > 4u) {
        hold_fragments(c + 4u, 4u);
        hold_fragments(c + 5u, 5u);
        hold_fragments(c + 6u, 6u);
        hold_fragments(c + 7u, 7u);
    }
}

// The power of two that brings the largest element of the query to 2^14 .. 2^15, where what its halves lose is least;
// what undoes it goes to `unscale`.
fn scale_query() -> f32 {
    var largest = 0.0;
    for (var c = 0u; c < params.key_vectors; c += 1u) {
        let x = abs(compared[query * params.key_vectors + c]);
        largest = max(largest, max(max(x.x, x.y), max(x.z, x.w)));
    }
    let exponent = clamp(bitcast<u32>(largest) >> 23u, 15u, 254u);
    unscale = bitcast<f32>((exponent - 14u) << 23u);
    return bitcast<f32>((268u - exponent) << 23u);
}

fn take_queries() {
    let scale = scale_query();
    take_fragments(0u, scale);
    if (KEYS > SPAN) { take_fragments(SPAN, scale); }
    if (KEYS > 2u * SPAN) { take_fragments(2u * SPAN, scale); }
    if (KEYS > 3u * SPAN) { take_fragments(3u * SPAN, scale); }
    if (KEYS > 4u * SPAN) { take_fragments(4u * SPAN, scale); }
    if (KEYS > 5u * SPAN) { take_fragments(5u * SPAN, scale); }
    if (KEYS > 6u * SPAN) { take_fragments(6u * SPAN, scale); }
    if (KEYS > 7u * SPAN) { take_fragments(7u * SPAN, scale); }
}

fn compare_part(r: u32, c: u32, key: Right, before: Accumulator) -> Accumulator {
    let at = (r * KEYS + c) * PARTS;
    var after = coopMultiplyAdd(held[at], key, before);
    if (PARTS > 1u) {
        after = coopMultiplyAdd(held[at + 1u], key, after);
    }
    return after;
}

var<private> score_0: Accumulator;
var<private> score_1: Accumulator;

fn compare_column(n: u32, c: u32) {
    let key = key_fragment_at(n * SIDE * TILE_STRIDE + c * VECTORS);
    score_0 = compare_part(0u, c, key, score_0);
    if (ROWS > 1u) {
        score_1 = compare_part(1u, c, key, score_1);
    }
}

// The scores of the n-th fragment of patterns of the tile.
fn compare_patterns(n: u32) {
    score_0 = Accumulator();
    score_1 = Accumulator();
    compare_column(n, 0u);
    if (KEYS > 1u) { compare_column(n, 1u); }
    if (KEYS > 2u) { compare_column(n, 2u); }
    if (KEYS > 3u) { compare_column(n, 3u); }
    if (KEYS > 4u) { compare_column(n, 4u); }
    if (KEYS > 5u) { compare_column(n, 5u); }
    if (KEYS > 6u) { compare_column(n, 6u); }
    if (KEYS > 7u) { compare_column(n, 7u); }
    if (KEYS > 8u) { compare_column(n, 8u); }
    if (KEYS > 9u) { compare_column(n, 9u); }
    if (KEYS > 10u) { compare_column(n, 10u); }
    if (KEYS > 11u) { compare_column(n, 11u); }
    if (KEYS > 12u) { compare_column(n, 12u); }
    if (KEYS > 13u) { compare_column(n, 13u); }
    if (KEYS > 14u) { compare_column(n, 14u); }
    if (KEYS > 15u) { compare_column(n, 15u); }
    let at = first_row * SCORE_STRIDE + n * VECTORS;
    store_scores(at, score_0);
    if (ROWS > 1u) {
        store_scores(at + SIDE * SCORE_STRIDE, score_1);
    }
}

fn compare_tile() {
    compare_patterns(0u);
    compare_patterns(1u);
    if (SPAN > 2u) {
        compare_patterns(2u);
        compare_patterns(3u);
    }
    if (SPAN > 4u) {
        compare_patterns(4u);
        compare_patterns(5u);
        compare_patterns(6u);
        compare_patterns(7u);
    }
}

// The weights of the tile from pattern `first` under the reference, cut at what a half holds.
fn weigh_tile(first: u32, end: u32) {
    tile_most = NO_SCORE;
    tile_sum = 0.0;
    for (var v = lane; v < SPAN * VECTORS; v += LANES) {
        let pattern = first + 4u * v;
        var z = scores_at(row * SCORE_STRIDE + v) * unscale;
        var biases = vec4<f32>();
        if (TERMS == 1u) {
            let t_0 = tile_terms[4u * v];
            let t_1 = tile_terms[4u * v + 1u];
            let t_2 = tile_terms[4u * v + 2u];
            let t_3 = tile_terms[4u * v + 3u];
            z *= vec4<f32>(t_0.x, t_1.x, t_2.x, t_3.x);
            biases = vec4<f32>(t_0.y, t_1.y, t_2.y, t_3.y);
        }
        z = clamp(params.beta * z + biases, vec4<f32>(-SCORE_LIMIT), vec4<f32>(SCORE_LIMIT));
        var counted = vec4<u32>(pattern, pattern + 1u, pattern + 2u, pattern + 3u) < vec4<u32>(end);
        if (KEEP == 1u) {
            let begin = params.keep_first + query * params.keep_stride;
            let inside = min(pattern, end - 1u);
            let last = max(min(inside + 3u, end - 1u), inside);
            counted = counted & kept_four(begin, params.window_first + inside, params.window_first + last);
        }
        z = select(vec4<f32>(NO_SCORE), z, counted);
        tile_most = max(tile_most, max(max(z.x, z.y), max(z.z, z.w)));
        let weights = ONE * exp(min(z - vec4<f32>(reference), vec4<f32>(CEILING)));
        let together = put_parts(row * WEIGHT_STRIDE + v, select(vec4<f32>(), weights, counted));
        tile_sum += together.x + together.y + together.z + together.w;
    }
}

fn store_column(c: u32, k: u32) {
    if (c < OUT) {
        let at = first_row * SCORE_STRIDE + k * VECTORS;
        store_scores(at, sum[c]);
        if (ROWS > 1u) {
            store_scores(at + SIDE * SCORE_STRIDE, sum[OUT + c]);
        }
    }
}

fn load_column(c: u32, k: u32) {
    if (c < OUT) {
        let at = first_row * SCORE_STRIDE + k * VECTORS;
        sum[c] = load_scores(at);
        if (ROWS > 1u) {
            sum[OUT + c] = load_scores(at + SIDE * SCORE_STRIDE);
        }
    }
}

// SPAN fragments across the sums, from the c-th, to where scores are.
fn store_columns(c: u32) {
    workgroupBarrier();
    store_column(c, 0u);
    store_column(c + 1u, 1u);
    if (SPAN > 2u) {
        store_column(c + 2u, 2u);
        store_column(c + 3u, 3u);
    }
    if (SPAN > 4u) {
        store_column(c + 4u, 4u);
        store_column(c + 5u, 5u);
        store_column(c + 6u, 6u);
        store_column(c + 7u, 7u);
    }
    workgroupBarrier();
}

fn scale_columns(c: u32, factor: f32) {
    store_columns(c);
    for (var v = lane; v < SPAN * VECTORS; v += LANES) {
        let at = row * SCORE_STRIDE + v;
        put_scores(at, factor * scores_at(at));
    }
    workgroupBarrier();
    load_column(c, 0u);
    load_column(c + 1u, 1u);
    if (SPAN > 2u) {
        load_column(c + 2u, 2u);
        load_column(c + 3u, 3u);
    }
    if (SPAN > 4u) {
        load_column(c + 4u, 4u);
        load_column(c + 5u, 5u);
        load_column(c + 6u, 6u);
        load_column(c + 7u, 7u);
    }
}

// Raises the reference of those queries for which the tile has too large a score, and no other's: what a query gets
// does not depend on the batch. Weighs the tile again and scales the sums; all invocations must call it together.
fn raise(local: u32, first: u32, end: u32) {
    told[local] = tile_most;
    workgroupBarrier();
    var most = NO_SCORE;
    for (var i = 0u; i < LANES; i += 1u) {
        most = max(most, told[row * LANES + i]);
    }
    let before = reference;
    reference = select(before, most, most > before + CEILING);
    weigh_tile(first, end);
    let factor = shrink(before, reference);
    weight_sum *= factor;
    scale_columns(0u, factor);
    if (OUT > SPAN) { scale_columns(SPAN, factor); }
    if (OUT > 2u * SPAN) { scale_columns(2u * SPAN, factor); }
    if (OUT > 3u * SPAN) { scale_columns(3u * SPAN, factor); }
    if (OUT > 4u * SPAN) { scale_columns(4u * SPAN, factor); }
    if (OUT > 5u * SPAN) { scale_columns(5u * SPAN, factor); }
    if (OUT > 6u * SPAN) { scale_columns(6u * SPAN, factor); }
    if (OUT > 7u * SPAN) { scale_columns(7u * SPAN, factor); }
}

var<private> weight_0: array<Left, PARTS>;
var<private> weight_1: array<Left, PARTS>;

fn hold_weights(n: u32) {
    let at = first_row * WEIGHT_STRIDE + n * VECTORS;
    weight_0[0] = weights_at(at);
    if (PARTS > 1u) {
        weight_0[PARTS - 1u] = weights_at(PART_STRIDE + at);
    }
    if (ROWS > 1u) {
        weight_1[0] = weights_at(at + SIDE * WEIGHT_STRIDE);
        if (PARTS > 1u) {
            weight_1[PARTS - 1u] = weights_at(PART_STRIDE + at + SIDE * WEIGHT_STRIDE);
        }
    }
}

fn add_column(n: u32, c: u32) {
    let payload = payload_fragment_at(n * SIDE * TILE_STRIDE + c * VECTORS);
    sum[c] = coopMultiplyAdd(weight_0[0], payload, sum[c]);
    if (PARTS > 1u) {
        sum[c] = coopMultiplyAdd(weight_0[PARTS - 1u], payload, sum[c]);
    }
    if (ROWS > 1u) {
        sum[OUT + c] = coopMultiplyAdd(weight_1[0], payload, sum[OUT + c]);
        if (PARTS > 1u) {
            sum[OUT + c] = coopMultiplyAdd(weight_1[PARTS - 1u], payload, sum[OUT + c]);
        }
    }
}

// Adds the n-th fragment of patterns of the tile, as they are weighed.
fn add_patterns(n: u32) {
    hold_weights(n);
    add_column(n, 0u);
    if (OUT > 1u) { add_column(n, 1u); }
    if (OUT > 2u) { add_column(n, 2u); }
    if (OUT > 3u) { add_column(n, 3u); }
    if (OUT > 4u) { add_column(n, 4u); }
    if (OUT > 5u) { add_column(n, 5u); }
    if (OUT > 6u) { add_column(n, 6u); }
    if (OUT > 7u) { add_column(n, 7u); }
    if (OUT > 8u) { add_column(n, 8u); }
    if (OUT > 9u) { add_column(n, 9u); }
    if (OUT > 10u) { add_column(n, 10u); }
    if (OUT > 11u) { add_column(n, 11u); }
    if (OUT > 12u) { add_column(n, 12u); }
    if (OUT > 13u) { add_column(n, 13u); }
    if (OUT > 14u) { add_column(n, 14u); }
    if (OUT > 15u) { add_column(n, 15u); }
}

fn add_tile() {
    add_patterns(0u);
    add_patterns(1u);
    if (SPAN > 2u) {
        add_patterns(2u);
        add_patterns(3u);
    }
    if (SPAN > 4u) {
        add_patterns(4u);
        add_patterns(5u);
        add_patterns(6u);
        add_patterns(7u);
    }
}

fn write_columns(c: u32, partial: u32, first_column: u32, counts: bool) {
    store_columns(c);
    for (var v = lane; v < SPAN * VECTORS; v += LANES) {
        let column = first_column + c * VECTORS + v;
        if (counts && c * VECTORS + v < OUT * VECTORS && column < params.columns) {
            sums[partial * params.columns + column] = scores_at(row * SCORE_STRIDE + v) / ONE;
        }
    }
}

// The end of the patterns from `first` to `end`, or `first` where no query of the workgroup may use any of them. All
// invocations must call it together.
fn skip_unused(local: u32, first: u32, end: u32) -> u32 {
    if (KEEP == 0u) {
        return end;
    }
    var used = false;
    // Where all queries share a row of the mask, the first looks for all.
    if (local == 0u || params.keep_stride > 0u) {
        let begin = params.keep_first + query * params.keep_stride;
        used = kept_any(begin, params.window_first + first, params.window_first + end - 1u);
    }
    return select(first, end, any_says(local, used));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let workgroup = within + params.base.xyz;
    let split = workgroup.x;
    let first_slot = workgroup.y * GROUP;
    if (first_slot >= listed()) {
        return;
    }
    let first_column = workgroup.z * OUT * VECTORS;
    let begin = params.first_row + split * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.end_row);
    // Subgroups that are smaller than was thought are more: those do the last one's work once more.
    first_row = min(subgroup, SUBGROUPS - 1u) * ROWS * SIDE;
    row = local / LANES;
    lane = local % LANES;
    let slot = first_slot + row;
    query = query_at(min(slot, listed() - 1u));
    reference = NO_SCORE;
    weight_sum = 0.0;
    take_queries();
    for (var tile = begin; tile < end; tile += SKIPPED) {
        let stop = skip_unused(local, tile, min(tile + SKIPPED, end));
        for (var first = tile; first < stop; first += PATTERNS) {
            workgroupBarrier();
            bring_keys(local, first, end);
            if (local == 0u) {
                atomicStore(&risen, 0u);
            }
            workgroupBarrier();
            compare_tile();
            workgroupBarrier();
            if (SAME == 0u) {
                bring_payload(local, first, end, first_column);
            }
            weigh_tile(first, end);
            if (tile_most > reference + CEILING) {
                atomicStore(&risen, 1u);
            }
            if (workgroupUniformLoad(&risen) == 1u) {
                raise(local, first, end);
            }
            weight_sum += tile_sum;
            add_tile();
        }
    }
    let partial = slot * params.splits + split;
    let counts = slot < listed();
    write_columns(0u, partial, first_column, counts);
    if (OUT > SPAN) { write_columns(SPAN, partial, first_column, counts); }
    if (OUT > 2u * SPAN) { write_columns(2u * SPAN, partial, first_column, counts); }
    if (OUT > 3u * SPAN) { write_columns(3u * SPAN, partial, first_column, counts); }
    if (OUT > 4u * SPAN) { write_columns(4u * SPAN, partial, first_column, counts); }
    if (OUT > 5u * SPAN) { write_columns(5u * SPAN, partial, first_column, counts); }
    if (OUT > 6u * SPAN) { write_columns(6u * SPAN, partial, first_column, counts); }
    if (OUT > 7u * SPAN) { write_columns(7u * SPAN, partial, first_column, counts); }
    if (first_column == 0u) {
        told[local] = weight_sum;
        workgroupBarrier();
        if (lane == 0u && counts) {
            var total = 0.0;
            for (var i = 0u; i < LANES; i += 1u) {
                total += told[local + i];
            }
            stats[stats_place(partial)] = vec2<f32>(reference, total / ONE);
        }
    }
}
