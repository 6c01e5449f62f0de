//! use lib/fused_params
//! use lib/mask
//! use lib/own
//! use lib/own_beta
//! use lib/vote
//! use lib/score
//! use lib/scaled
//! use lib/weigh_softmax
//! use lib/compare_dot
//! use lib/stored_f32
//! use lib/spread_shared
//! use lib/listed
// Many queries: every stage fused over one split of the patterns. Each invocation holds QUERIES queries of its own and
// their sums, and all invocations go through the same patterns, four at a time: nothing is shared between them but what
// they read. One workgroup handles one split for WORKGROUP * QUERIES queries; blocks of OUT column vectors of the sums
// are a dimension of the grid. Everything is unrolled by hand: arrays whose indices are known become registers.

const WORKGROUP: u32 = 64u;
const QUERIES: u32 = 1u;
// Column vectors of a key, and of the sums: multiples of 4, at most 32.
const KEYS: u32 = 16u;
const OUT: u32 = 16u;
// Whether the sums are over the keys, all of them.
const SAME: u32 = 1u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;
const RECORDS: u32 = 0u;
// Patterns that are skipped at once where no query may use any: a multiple of SPAN.
const SKIPPED: u32 = 128u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<Stored>;
@group(0) @binding(4) var<storage, read> values: array<Stored>;
@group(0) @binding(5) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> keep: array<u32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> seen_first: atomic<u32>;
var<workgroup> seen_end: atomic<u32>;
var<private> query: array<u32, QUERIES>;
var<private> held: array<vec4<f32>, QUERIES * KEYS>;
var<private> sum: array<vec4<f32>, QUERIES * OUT>;
var<private> maximum: array<f32, QUERIES>;
var<private> weight_sum: array<f32, QUERIES>;
// Of four patterns: what comparing them has given so far, then their weights.
var<private> weight: array<vec4<f32>, QUERIES>;

fn terms_at(row: u32) -> vec4<f32> {
    if (TERMS == 1u) {
        return terms[row];
    }
    return vec4<f32>(1.0, 0.0, 1.0, 1.0);
}

// Beyond the last column is zero, as in what it is compared with.
fn key_at(row: u32, c: u32, of_row: vec4<f32>) -> vec4<f32> {
    var key = unpack_stored(keys[row * params.key_vectors + min(c, params.key_vectors - 1u)]);
    if (QUANTIZED) {
        key *= of_row.z;
    }
    return select(vec4<f32>(0.0), key, c < params.key_vectors);
}

// Column vectors 0 .. key_columns come from the keys, the rest from the values.
fn payload_at(row: u32, column: u32, of_row: vec4<f32>) -> vec4<f32> {
    if (column < params.key_columns) {
        return key_at(row, column, of_row);
    }
    if (column >= params.columns) {
        return vec4<f32>(0.0);
    }
    let value = unpack_stored(values[row * params.value_vectors + column - params.key_columns]);
    if (QUANTIZED) {
        return value * of_row.w;
    }
    return value;
}

fn take(q: u32, c: u32) {
    let vector = compared[query[q] * params.key_vectors + min(c, params.key_vectors - 1u)];
    held[q * KEYS + c] = select(vec4<f32>(0.0), vector, c < params.key_vectors);
}

fn take_columns(q: u32, c: u32) {
    take(q, c);
    take(q, c + 1u);
    take(q, c + 2u);
    take(q, c + 3u);
}

fn clear_columns(q: u32, c: u32) {
    let at = q * OUT + c;
    sum[at] = vec4<f32>(0.0);
    sum[at + 1u] = vec4<f32>(0.0);
    sum[at + 2u] = vec4<f32>(0.0);
    sum[at + 3u] = vec4<f32>(0.0);
}

fn begin_query(q: u32, first_slot: u32) {
    query[q] = query_at(min(first_slot + q * WORKGROUP, listed() - 1u));
    maximum[q] = NO_SCORE;
    weight_sum[q] = 0.0;
    take_columns(q, 0u);
    if (KEYS > 4u) { take_columns(q, 4u); }
    if (KEYS > 8u) { take_columns(q, 8u); }
    if (KEYS > 12u) { take_columns(q, 12u); }
    if (KEYS > 16u) { take_columns(q, 16u); }
    if (KEYS > 20u) { take_columns(q, 20u); }
    if (KEYS > 24u) { take_columns(q, 24u); }
    if (KEYS > 28u) { take_columns(q, 28u); }
    clear_columns(q, 0u);
    if (OUT > 4u) { clear_columns(q, 4u); }
    if (OUT > 8u) { clear_columns(q, 8u); }
    if (OUT > 12u) { clear_columns(q, 12u); }
    if (OUT > 16u) { clear_columns(q, 16u); }
    if (OUT > 20u) { clear_columns(q, 20u); }
    if (OUT > 24u) { clear_columns(q, 24u); }
    if (OUT > 28u) { clear_columns(q, 28u); }
}

fn compare_query(q: u32, c: u32, k_0: vec4<f32>, k_1: vec4<f32>, k_2: vec4<f32>, k_3: vec4<f32>) {
    let x = held[q * KEYS + c];
    weight[q] += vec4<f32>(compare(x, k_0), compare(x, k_1), compare(x, k_2), compare(x, k_3));
}

fn compare_column(c: u32) {
    let k_0 = key_0(c);
    let k_1 = key_1(c);
    let k_2 = key_2(c);
    let k_3 = key_3(c);
    compare_query(0u, c, k_0, k_1, k_2, k_3);
    if (QUERIES > 1u) {
        compare_query(1u, c, k_0, k_1, k_2, k_3);
    }
    if (QUERIES > 2u) {
        compare_query(2u, c, k_0, k_1, k_2, k_3);
        compare_query(3u, c, k_0, k_1, k_2, k_3);
    }
}

fn compare_columns(c: u32) {
    compare_column(c);
    compare_column(c + 1u);
    compare_column(c + 2u);
    compare_column(c + 3u);
}

fn shrink_columns(q: u32, factor: f32, c: u32) {
    let at = q * OUT + c;
    sum[at] *= factor;
    sum[at + 1u] *= factor;
    sum[at + 2u] *= factor;
    sum[at + 3u] *= factor;
}

// The weights of four patterns from `row`, under a maximum that knows them.
fn weigh_query(q: u32, row: u32, end: u32, factors: vec4<f32>, biases: vec4<f32>) {
    let total = weight[q];
    var z = vec4<f32>(similarity_of(total.x), similarity_of(total.y), similarity_of(total.z), similarity_of(total.w));
    if (TERMS == 1u) {
        z *= factors;
    }
    z = clamp(beta_of(query[q]) * z + biases, vec4<f32>(-SCORE_LIMIT), vec4<f32>(SCORE_LIMIT));
    var counted = vec4<u32>(row, row + 1u, row + 2u, row + 3u) < vec4<u32>(end);
    if (RECORDS == 1u) {
        counted = counted & sees_four(query[q], params.window_first + row);
    }
    if (KEEP == 1u) {
        let begin = params.keep_first + query[q] * params.keep_stride;
        let last = min(row + 3u, end - 1u);
        counted = counted & kept_four(begin, params.window_first + row, params.window_first + last);
    }
    z = select(vec4<f32>(NO_SCORE), z, counted);
    let levels = levels_of(z);
    let most = max(maximum[q], max(max(levels.x, levels.y), max(levels.z, levels.w)));
    let factor = rescale(maximum[q], most);
    maximum[q] = most;
    let weighed = weigh_four(z, most, counted, beta_of(query[q]));
    let masses = weighed.masses;
    weight[q] = weighed.weights;
    weight_sum[q] = weight_sum[q] * factor + (masses.x + masses.y + masses.z + masses.w);
    shrink_columns(q, factor, 0u);
    if (OUT > 4u) { shrink_columns(q, factor, 4u); }
    if (OUT > 8u) { shrink_columns(q, factor, 8u); }
    if (OUT > 12u) { shrink_columns(q, factor, 12u); }
    if (OUT > 16u) { shrink_columns(q, factor, 16u); }
    if (OUT > 20u) { shrink_columns(q, factor, 20u); }
    if (OUT > 24u) { shrink_columns(q, factor, 24u); }
    if (OUT > 28u) { shrink_columns(q, factor, 28u); }
}

fn sum_query(q: u32, c: u32, k_0: vec4<f32>, k_1: vec4<f32>, k_2: vec4<f32>, k_3: vec4<f32>) {
    let w = weight[q];
    sum[q * OUT + c] += w.x * k_0 + w.y * k_1 + w.z * k_2 + w.w * k_3;
}

fn sum_column(c: u32) {
    let k_0 = payload_0(c);
    let k_1 = payload_1(c);
    let k_2 = payload_2(c);
    let k_3 = payload_3(c);
    sum_query(0u, c, k_0, k_1, k_2, k_3);
    if (QUERIES > 1u) {
        sum_query(1u, c, k_0, k_1, k_2, k_3);
    }
    if (QUERIES > 2u) {
        sum_query(2u, c, k_0, k_1, k_2, k_3);
        sum_query(3u, c, k_0, k_1, k_2, k_3);
    }
}

fn sum_columns(c: u32) {
    sum_column(c);
    sum_column(c + 1u);
    sum_column(c + 2u);
    sum_column(c + 3u);
}

fn begin_four(q: u32) {
    weight[q] = vec4<f32>(0.0);
}

fn four_patterns(row: u32, end: u32) {
    begin_four(0u);
    if (QUERIES > 1u) {
        begin_four(1u);
    }
    if (QUERIES > 2u) {
        begin_four(2u);
        begin_four(3u);
    }
    compare_columns(0u);
    if (KEYS > 4u) { compare_columns(4u); }
    if (KEYS > 8u) { compare_columns(8u); }
    if (KEYS > 12u) { compare_columns(12u); }
    if (KEYS > 16u) { compare_columns(16u); }
    if (KEYS > 20u) { compare_columns(20u); }
    if (KEYS > 24u) { compare_columns(24u); }
    if (KEYS > 28u) { compare_columns(28u); }
    var factors = vec4<f32>(1.0);
    var biases = vec4<f32>(0.0);
    if (TERMS == 1u) {
        let t_0 = terms_0();
        let t_1 = terms_1();
        let t_2 = terms_2();
        let t_3 = terms_3();
        factors = vec4<f32>(t_0.x, t_1.x, t_2.x, t_3.x);
        biases = vec4<f32>(t_0.y, t_1.y, t_2.y, t_3.y);
    }
    forget_four();
    weigh_query(0u, row, end, factors, biases);
    if (QUERIES > 1u) {
        weigh_query(1u, row, end, factors, biases);
    }
    if (QUERIES > 2u) {
        weigh_query(2u, row, end, factors, biases);
        weigh_query(3u, row, end, factors, biases);
    }
    sum_columns(0u);
    if (OUT > 4u) { sum_columns(4u); }
    if (OUT > 8u) { sum_columns(8u); }
    if (OUT > 12u) { sum_columns(12u); }
    if (OUT > 16u) { sum_columns(16u); }
    if (OUT > 20u) { sum_columns(20u); }
    if (OUT > 24u) { sum_columns(24u); }
    if (OUT > 28u) { sum_columns(28u); }
}

// Columns beyond the last are written to its place before it is. A branch for each would cost FXC a tenth of its time.
fn write_column(q: u32, partial: u32, column: u32, c: u32) {
    sums[partial * params.columns + min(column + c, params.columns - 1u)] = sum[q * OUT + c];
}

fn write_columns(q: u32, partial: u32, column: u32, c: u32) {
    write_column(q, partial, column, c + 3u);
    write_column(q, partial, column, c + 2u);
    write_column(q, partial, column, c + 1u);
    write_column(q, partial, column, c);
}

fn end_query(q: u32, first_slot: u32, split: u32, first_column: u32) {
    let slot = first_slot + q * WORKGROUP;
    if (slot >= listed()) {
        return;
    }
    let partial = slot * params.splits + split;
    if (first_column == 0u) {
        stats[stats_place(partial)] = vec2<f32>(maximum[q], weight_sum[q]);
    }
    if (OUT > 28u) { write_columns(q, partial, first_column, 28u); }
    if (OUT > 24u) { write_columns(q, partial, first_column, 24u); }
    if (OUT > 20u) { write_columns(q, partial, first_column, 20u); }
    if (OUT > 16u) { write_columns(q, partial, first_column, 16u); }
    if (OUT > 12u) { write_columns(q, partial, first_column, 12u); }
    if (OUT > 8u) { write_columns(q, partial, first_column, 8u); }
    if (OUT > 4u) { write_columns(q, partial, first_column, 4u); }
    write_columns(q, partial, first_column, 0u);
}

fn uses(q: u32, first: u32, last: u32) -> bool {
    var used = true;
    if (RECORDS == 1u) {
        used = sees_any(query[q], params.window_first + first, params.window_first + last);
    }
    if (KEEP == 1u) {
        let begin = params.keep_first + query[q] * params.keep_stride;
        used = used && kept_any(begin, params.window_first + first, params.window_first + last);
    }
    return used;
}

fn look(q: u32) {
    let seen = seen_by(query[q]);
    atomicMin(&seen_first, seen.x);
    atomicMax(&seen_end, seen.y);
}

// The rows that any query of the workgroup may see. All invocations must call it together.
fn reach_of(local: u32) -> vec2<u32> {
    if (RECORDS == 0u) {
        return vec2<u32>(params.first_row, params.end_row);
    }
    if (local == 0u) {
        atomicStore(&seen_first, 0xffffffffu);
        atomicStore(&seen_end, 0u);
    }
    workgroupBarrier();
    look(0u);
    if (QUERIES > 1u) {
        look(1u);
    }
    if (QUERIES > 2u) {
        look(2u);
        look(3u);
    }
    let first = workgroupUniformLoad(&seen_first);
    let end = workgroupUniformLoad(&seen_end);
    let seen = max(vec2<u32>(first, end), vec2<u32>(params.window_first)) - vec2<u32>(params.window_first);
    return vec2<u32>(max(params.first_row, seen.x), min(params.end_row, seen.y));
}

// The end of the patterns from `first` to `end`, or `first` where no query of the workgroup may use any of them. All
// invocations must call it together.
fn skip_unused(local: u32, first: u32, end: u32) -> u32 {
    if (KEEP + RECORDS == 0u) {
        return end;
    }
    var used = false;
    // Where all queries share a row of the mask, the first looks for all.
    if (RECORDS == 1u || local == 0u || params.keep_stride > 0u) {
        used = uses(0u, first, end - 1u);
        if (QUERIES > 1u) {
            used = uses(1u, first, end - 1u) || used;
        }
        if (QUERIES > 2u) {
            used = uses(2u, first, end - 1u) || uses(3u, first, end - 1u) || used;
        }
    }
    return select(first, end, any_says(local, used));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = within + params.base.xyz;
    let split = workgroup.x;
    let group_slot = workgroup.y * WORKGROUP * QUERIES;
    if (group_slot >= listed()) {
        return;
    }
    let first_slot = group_slot + local;
    let first_column = workgroup.z * OUT;
    begin_query(0u, first_slot);
    if (QUERIES > 1u) {
        begin_query(1u, first_slot);
    }
    if (QUERIES > 2u) {
        begin_query(2u, first_slot);
        begin_query(3u, first_slot);
    }
    let reach = reach_of(local);
    let pieces = select(vec2<u32>(0u, 1u), pieces_of(reach), RECORDS == 1u);
    for (var piece = pieces.x; piece < pieces.y; piece += 1u) {
        let whole = params.first_row + (piece * params.splits + split) * params.rows_per_split;
        let begin = whole + (max(whole, reach.x) - whole) / SKIPPED * SKIPPED;
        let end = min(whole + params.rows_per_split, reach.y);
        for (var tile = begin; tile < end; tile += SKIPPED) {
            let stop = skip_unused(local, tile, min(tile + SKIPPED, end));
            for (var first = tile; first < stop; first += SPAN) {
                bring_span(local, first, end, first_column);
                for (var t = 0u; t < min(SPAN, end - first); t += 4u) {
                    bring_four(first, t, end, first_column);
                    four_patterns(first + t, end);
                }
            }
        }
    }
    end_query(0u, first_slot, split, first_column);
    if (QUERIES > 1u) {
        end_query(1u, first_slot, split, first_column);
    }
    if (QUERIES > 2u) {
        end_query(2u, first_slot, split, first_column);
        end_query(3u, first_slot, split, first_column);
    }
}
