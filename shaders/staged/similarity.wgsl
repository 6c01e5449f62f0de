//! use lib/mask
//! use lib/own
//! use lib/own_beta
//! use lib/vote
//! use lib/tile_mask
//! use lib/score
//! use lib/order
//! use lib/entmax
//! use lib/trial
//! use lib/compare_dot
//! use lib/stored_f32
//! use lib/listed
// Stage 1: the scores of a list of queries against a chunk of patterns, as a register-tiled product. One workgroup
// computes SIDE * QUERIES x ROWS scores, one invocation QUERIES x 8 of them, over slabs of SLAB column vectors that the
// workgroup brings into shared memory while it works on the slab before. Rows of a slab are padded by one vector
// against bank conflicts. Everything is unrolled by hand.
//
// The search for a threshold over all patterns, for queries whose candidates do not fit a list, makes the same scores,
// bit by bit, but keeps none: with `trial` a workgroup goes through a split of the patterns, and each of its tiles is
// tried against the thresholds of a pass before the next takes its place. What a trial gives of a split is a sum of
// weights, or under top-k the number of scores at or above its key; after the last trial of a query comes its largest
// score.

const SIDE: u32 = 16u;
// Queries of an invocation: 4, or 8.
const QUERIES: u32 = 8u;
const ROWS: u32 = 128u;
const SLAB: u32 = 2u;
const PITCH: u32 = 3u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;
const RECORDS: u32 = 0u;
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
    trial: u32,
    fresh: u32,
    rows_per_split: u32,
    splits: u32,
    split_stride: u32,
    gain: f32,
    margin: f32,
    exponent: f32,
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
@group(0) @binding(6) var<storage, read_write> scores: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> brackets: array<Bracket>;
@group(0) @binding(8) var<storage, read_write> given: array<u32>;

var<workgroup> query_slab: array<vec4<f32>, SIDE * QUERIES * PITCH>;
var<workgroup> key_slab: array<vec4<f32>, ROWS * PITCH>;

// What the scores of four neighbouring patterns are made with.
struct Four {
    row: u32,
    at: u32,
    factors: vec4<f32>,
    biases: vec4<f32>,
    counted: vec4<bool>,
}

fn four_at(row: u32, at: u32) -> Four {
    let counted = vec4<u32>(row, row + 1u, row + 2u, row + 3u) < vec4<u32>(params.rows);
    var four = Four(row, at, vec4<f32>(1.0), vec4<f32>(0.0), counted);
    if (TERMS == 1u) {
        let last = params.rows - 1u;
        let t_0 = terms[params.first_row + min(row, last)];
        let t_1 = terms[params.first_row + min(row + 1u, last)];
        let t_2 = terms[params.first_row + min(row + 2u, last)];
        let t_3 = terms[params.first_row + min(row + 3u, last)];
        four.factors = vec4<f32>(t_0.x, t_1.x, t_2.x, t_3.x);
        if (BIAS == 1u) {
            four.biases = vec4<f32>(t_0.y, t_1.y, t_2.y, t_3.y);
        }
    }
    return four;
}

fn store(slot: u32, four: Four, total: vec4<f32>) {
    if (slot >= listed() || four.row >= params.rows) {
        return;
    }
    var z = vec4<f32>(similarity_of(total.x), similarity_of(total.y), similarity_of(total.z), similarity_of(total.w));
    if (TERMS == 1u) {
        z *= four.factors;
    }
    let query = query_at(slot);
    z = clamp(beta_of(query) * z + four.biases, vec4<f32>(-SCORE_LIMIT), vec4<f32>(SCORE_LIMIT));
    var counted = four.counted;
    if (RECORDS == 1u) {
        counted = counted & sees_four(query, params.window_first + params.first_row + four.row);
    }
    if (KEEP == 1u) {
        let first = params.window_first + params.first_row;
        let begin = params.keep_first + query * params.keep_stride;
        counted = counted & kept_four(begin, first + four.row, first + min(four.row + 3u, params.rows - 1u));
    }
    scores[(slot * params.score_stride + four.at) / 4u] = select(vec4<f32>(NO_SCORE), z, counted);
}

// Coordinates of four patterns, one coordinate a column.
fn four_keys(at: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        key_slab[at],
        key_slab[at + SIDE * PITCH],
        key_slab[at + 2u * SIDE * PITCH],
        key_slab[at + 3u * SIDE * PITCH],
    ));
}

// The scores of one tile, those of the first slot from `place` on, from so many vectors of a key: all, or none where no
// query may use any pattern of the tile.
fn score_tile(local: vec2<u32>, index: u32, first_slot: u32, first_row: u32, place: u32, vectors: u32) {
    // This invocation brings vector `load_column` of slab rows `load_row`: of the queries as they stand, of the
    // patterns such that four neighbours are SIDE rows apart, for an invocation's scores are those of neighbours.
    let load_row = index / SLAB;
    let load_column = index % SLAB;
    let load_slot = min(first_slot + load_row % (SIDE * QUERIES), listed() - 1u);
    let load_query = query_at(load_slot) * params.key_vectors;
    let neighbour = load_row / 64u * 64u + load_row % SIDE * 4u + load_row / SIDE % 4u;
    let load_key = params.first_row + min(first_row + neighbour, params.rows - 1u);
    let load_at = load_row * PITCH + load_column;
    var key_scale = 1.0;
    if (QUANTIZED) {
        key_scale = terms[load_key].z;
    }
    let last = params.key_vectors - 1u;
    var next_query = compared[load_query + min(load_column, last)];
    var next_key = unpack_stored(keys[load_key * params.key_vectors + min(load_column, last)]);

    let query_place = local.y * PITCH;
    let key_place = local.x * PITCH;
    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    var sum_4 = vec4<f32>(0.0);
    var sum_5 = vec4<f32>(0.0);
    var sum_6 = vec4<f32>(0.0);
    var sum_7 = vec4<f32>(0.0);
    var far_0 = vec4<f32>(0.0);
    var far_1 = vec4<f32>(0.0);
    var far_2 = vec4<f32>(0.0);
    var far_3 = vec4<f32>(0.0);
    var far_4 = vec4<f32>(0.0);
    var far_5 = vec4<f32>(0.0);
    var far_6 = vec4<f32>(0.0);
    var far_7 = vec4<f32>(0.0);
    for (var base = 0u; base < vectors; base += SLAB) {
        // Beyond the last column both are zero.
        let inside = base + load_column <= last;
        if (load_row < SIDE * QUERIES) {
            query_slab[load_at] = select(vec4<f32>(0.0), next_query, inside);
        }
        key_slab[load_at] = select(vec4<f32>(0.0), key_scale * next_key, inside);
        workgroupBarrier();
        let c = min(base + SLAB + load_column, last);
        next_query = compared[load_query + c];
        next_key = unpack_stored(keys[load_key * params.key_vectors + c]);
        for (var k = 0u; k < SLAB; k += 1u) {
            let near = four_keys(key_place + k);
            let far = four_keys(key_place + 4u * SIDE * PITCH + k);
            let q_0 = query_slab[query_place + k];
            sum_0 = add_compared(sum_0, q_0, near);
            far_0 = add_compared(far_0, q_0, far);
            let q_1 = query_slab[query_place + SIDE * PITCH + k];
            sum_1 = add_compared(sum_1, q_1, near);
            far_1 = add_compared(far_1, q_1, far);
            let q_2 = query_slab[query_place + 2u * SIDE * PITCH + k];
            sum_2 = add_compared(sum_2, q_2, near);
            far_2 = add_compared(far_2, q_2, far);
            let q_3 = query_slab[query_place + 3u * SIDE * PITCH + k];
            sum_3 = add_compared(sum_3, q_3, near);
            far_3 = add_compared(far_3, q_3, far);
            if (QUERIES == 8u) {
                let q_4 = query_slab[query_place + (QUERIES / 2u) * SIDE * PITCH + k];
                sum_4 = add_compared(sum_4, q_4, near);
                far_4 = add_compared(far_4, q_4, far);
                let q_5 = query_slab[query_place + (QUERIES / 2u + 1u) * SIDE * PITCH + k];
                sum_5 = add_compared(sum_5, q_5, near);
                far_5 = add_compared(far_5, q_5, far);
                let q_6 = query_slab[query_place + (QUERIES / 2u + 2u) * SIDE * PITCH + k];
                sum_6 = add_compared(sum_6, q_6, near);
                far_6 = add_compared(far_6, q_6, far);
                let q_7 = query_slab[query_place + (QUERIES / 2u + 3u) * SIDE * PITCH + k];
                sum_7 = add_compared(sum_7, q_7, near);
                far_7 = add_compared(far_7, q_7, far);
            }
        }
        workgroupBarrier();
    }

    let slot = first_slot + local.y;
    let near = four_at(first_row + 4u * local.x, place + 4u * local.x);
    let far = four_at(first_row + 4u * SIDE + 4u * local.x, place + 4u * SIDE + 4u * local.x);
    store(slot, near, sum_0);
    store(slot, far, far_0);
    store(slot + SIDE, near, sum_1);
    store(slot + SIDE, far, far_1);
    store(slot + 2u * SIDE, near, sum_2);
    store(slot + 2u * SIDE, far, far_2);
    store(slot + 3u * SIDE, near, sum_3);
    store(slot + 3u * SIDE, far, far_3);
    if (QUERIES == 8u) {
        store(slot + 4u * SIDE, near, sum_4);
        store(slot + 4u * SIDE, far, far_4);
        store(slot + 5u * SIDE, near, sum_5);
        store(slot + 5u * SIDE, far, far_5);
        store(slot + 6u * SIDE, near, sum_6);
        store(slot + 6u * SIDE, far, far_6);
        store(slot + 7u * SIDE, near, sum_7);
        store(slot + 7u * SIDE, far, far_7);
    }
}

fn weight_of(z: f32, from_score: f32, s: f32, log_weight: f32) -> f32 {
    return select(0.0, entmax_weight(z - from_score, s, log_weight), counts(z));
}

fn reaches(z: f32, key: u32) -> u32 {
    return u32(counts(z) && key_of(z) >= key);
}

// Where `given` has trial 0 of a query's split.
fn given_at(slot: u32, split: u32) -> u32 {
    return (slot * params.splits + split) * (STEPS + 1u);
}

fn forget_trials(index: u32, first_slot: u32, split: u32) {
    for (var base = 0u; base < SIDE * QUERIES * STEPS; base += SIDE * SIDE) {
        let slot = first_slot + (base + index) / STEPS;
        let j = index % STEPS;
        if (slot < listed()) {
            given[given_at(slot, split) + j] = 0u;
            if (j == 0u) {
                given[given_at(slot, split) + STEPS] = bitcast<u32>(NO_SCORE);
            }
        }
    }
}

// Adds what each trial gives of the `rows` scores from `place`. An invocation has trials of its own, always the same.
fn try_tile(index: u32, first_slot: u32, split: u32, place: u32, rows: u32) {
    for (var base = 0u; base < SIDE * QUERIES * STEPS; base += SIDE * SIDE) {
        let slot = first_slot + (base + index) / STEPS;
        let j = index % STEPS;
        if (slot >= listed()) {
            continue;
        }
        let at = given_at(slot, split);
        let first = (slot * params.score_stride + place) / 4u;
        let bracket = brackets[query_at(slot)];
        let key = trial_key(bracket.low, bracket.high - bracket.low, j);
        if (params.trial == TRIAL_COUNT) {
            var count = 0u;
            var largest = NO_SCORE;
            for (var t = 0u; t < (rows + 3u) / 4u; t += 1u) {
                let z = scores[first + t];
                count += reaches(z.x, key) + reaches(z.y, key) + reaches(z.z, key) + reaches(z.w, key);
                largest = max(largest, max(max(z.x, z.y), max(z.z, z.w)));
            }
            given[at + j] += count;
            if (j == 0u) {
                given[at + STEPS] = bitcast<u32>(max(bitcast<f32>(given[at + STEPS]), largest));
            }
        } else {
            var s = 0.0;
            var log_weight = NO_LOG;
            var from_score = score_of(key);
            if (params.trial == TRIAL_SUM) {
                log_weight = trial_log(bitcast<f32>(bracket.low), bitcast<f32>(bracket.high), j);
                s = exp(params.gain * log_weight);
                from_score = bracket.maximum;
            }
            var sum = 0.0;
            for (var t = 0u; t < (rows + 3u) / 4u; t += 1u) {
                let z = scores[first + t];
                sum += weight_of(z.x, from_score, s, log_weight) + weight_of(z.y, from_score, s, log_weight)
                    + weight_of(z.z, from_score, s, log_weight) + weight_of(z.w, from_score, s, log_weight);
            }
            given[at + j] = bitcast<u32>(bitcast<f32>(given[at + j]) + sum);
        }
    }
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let workgroup = within + params.base.xyz;
    let first_slot = workgroup.y * SIDE * QUERIES;
    if (first_slot >= listed()) {
        return;
    }
    let split = workgroup.x;
    let begin = split * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.rows);
    if (params.trial != TRIAL_NONE && params.fresh == 1u) {
        forget_trials(index, first_slot, split);
    }
    for (var first_row = begin; first_row < end; first_row += ROWS) {
        // One product for both, or the bits might differ.
        let place = select(split * params.split_stride, first_row, params.trial == TRIAL_NONE);
        let rows = min(ROWS, end - first_row);
        let used = tile_uses(index, first_slot, first_row, first_row + rows);
        score_tile(local.xy, index, first_slot, first_row, place, select(0u, params.key_vectors, used));
        if (params.trial != TRIAL_NONE) {
            storageBarrier();
            try_tile(index, first_slot, split, place, select(0u, rows, used));
            storageBarrier();
        }
    }
}
