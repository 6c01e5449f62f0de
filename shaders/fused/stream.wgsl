//! use lib/fused_params
//! use lib/mask
//! use lib/own
//! use lib/own_beta
//! use lib/kept
//! use lib/score
//! use lib/scaled
//! use lib/weigh_softmax
//! use lib/compare_dot
//! use lib/stored_f32
//! use lib/stream_keys
//! use lib/listed
// Few queries: every stage fused over one split of the patterns, so that each pattern is fetched once for its score
// and, still in cache, once for the sums. One workgroup handles one split for QUERIES queries: LANES invocations share
// the dot product of a pattern, then COLUMNS invocations share the columns of the sums and WORKGROUP / COLUMNS groups
// of them share the patterns of a tile. Blocks of COLUMNS * OUT column vectors are a dimension of the grid.

const WORKGROUP: u32 = 64u;
const QUERIES: u32 = 4u;
const TILE: u32 = 32u;
// Patterns that are skipped at once where no query may use any.
const SPAN: u32 = 8u * TILE;
const LANES: u32 = 8u;
const COLUMNS: u32 = 16u;
const OUT: u32 = 1u;
const PIECES: u32 = 8u;
const TERMS: u32 = 0u;
const KEEP: u32 = 0u;
const RECORDS: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<Stored>;
@group(0) @binding(4) var<storage, read> values: array<Stored>;
@group(0) @binding(5) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> keep: array<u32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> parts: array<f32, QUERIES * TILE * LANES>;
var<workgroup> scores: array<f32, QUERIES * TILE>;
var<workgroup> maxima: array<f32, QUERIES * PIECES>;
var<workgroup> gathered: array<vec4<f32>, WORKGROUP>;

fn value_at(row: u32, vector: u32) -> vec4<f32> {
    let value = unpack_stored(values[row * params.value_vectors + vector]);
    if (QUANTIZED) {
        return value * terms[row].w;
    }
    return value;
}

// Column vectors 0 .. key_columns come from the keys, the rest from the values.
fn payload(row: u32, column: u32) -> vec4<f32> {
    if (column < params.key_columns) {
        return key_at(row, column);
    }
    return value_at(row, column - params.key_columns);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let split = workgroup.x;
    let first_slot = workgroup.y * QUERIES;
    let slots = listed();
    if (first_slot >= slots) {
        return;
    }
    let first_column = workgroup.z * COLUMNS * OUT;
    let lane = local % LANES;
    let pattern_group = local / LANES;
    let column = first_column + local % COLUMNS;
    let row_group = local / COLUMNS;

    var query: array<u32, QUERIES>;
    var maximum: array<f32, QUERIES>;
    var weight_sum: array<f32, QUERIES>;
    var sum: array<vec4<f32>, QUERIES * OUT>;
    for (var q = 0u; q < QUERIES; q += 1u) {
        query[q] = query_at(min(first_slot + q, slots - 1u));
        maximum[q] = NO_SCORE;
        weight_sum[q] = 0.0;
        for (var o = 0u; o < OUT; o += 1u) {
            sum[q * OUT + o] = vec4<f32>(0.0);
        }
    }

    // The rows that any of the queries may see.
    var reach = vec2<u32>(params.first_row, params.end_row);
    if (RECORDS == 1u) {
        var seen = vec2<u32>(0xffffffffu, 0u);
        for (var q = 0u; q < QUERIES; q += 1u) {
            let of_query = seen_by(query[q]);
            seen = vec2<u32>(min(seen.x, of_query.x), max(seen.y, of_query.y));
        }
        seen = max(seen, vec2<u32>(params.window_first)) - vec2<u32>(params.window_first);
        reach = vec2<u32>(max(reach.x, seen.x), min(reach.y, seen.y));
    }
    let pieces = select(vec2<u32>(0u, 1u), pieces_of(reach), RECORDS == 1u);
    for (var piece = pieces.x; piece < pieces.y; piece += 1u) {
        let whole = params.first_row + (piece * params.splits + split) * params.rows_per_split;
        let begin = whole + (max(whole, reach.x) - whole) / TILE * TILE;
        let end = min(whole + params.rows_per_split, reach.y);
        for (var first = begin; first < end; first += SPAN) {
            let reach = min(first + SPAN, end);
            let stop = select(first, reach, any_kept(first_slot, first, reach - 1u));
            for (var base = first; base < stop; base += TILE) {
                // None where no query may use any of them.
                let rows = select(0u, min(TILE, stop - base), any_kept(first_slot, base, min(base + TILE, stop) - 1u));

                for (var t = pattern_group; t < TILE; t += WORKGROUP / LANES) {
                    var part: array<f32, QUERIES>;
                    for (var q = 0u; q < QUERIES; q += 1u) {
                        part[q] = 0.0;
                    }
                    if (t < rows) {
                        for (var c = lane; c < params.key_vectors; c += LANES) {
                            let key = key_at(base + t, c);
                            for (var q = 0u; q < QUERIES; q += 1u) {
                                part[q] += compare(compared[query[q] * params.key_vectors + c], key);
                            }
                        }
                    }
                    for (var q = 0u; q < QUERIES; q += 1u) {
                        parts[(q * TILE + t) * LANES + lane] = part[q];
                    }
                }
                workgroupBarrier();

                for (var i = local; i < QUERIES * TILE; i += WORKGROUP) {
                    var total = 0.0;
                    for (var l = 0u; l < LANES; l += 1u) {
                        total += parts[i * LANES + l];
                    }
                    var z = NO_SCORE;
                    if (i % TILE < rows) {
                        z = score(query_at(min(first_slot + i / TILE, slots - 1u)), base + i % TILE, total);
                    }
                    scores[i] = z;
                }
                workgroupBarrier();

                if (local < QUERIES * PIECES) {
                    var most = NO_SCORE;
                    for (var t = 0u; t < TILE / PIECES; t += 1u) {
                        most = max(most, level_of(scores[local * (TILE / PIECES) + t]));
                    }
                    maxima[local] = most;
                }
                workgroupBarrier();

                for (var q = 0u; q < QUERIES; q += 1u) {
                    let before = maximum[q];
                    var most = before;
                    for (var p = 0u; p < PIECES; p += 1u) {
                        most = max(most, maxima[q * PIECES + p]);
                    }
                    maximum[q] = most;
                    let factor = rescale(before, most);
                    weight_sum[q] *= factor;
                    for (var o = 0u; o < OUT; o += 1u) {
                        sum[q * OUT + o] *= factor;
                    }
                }
                for (var q = 0u; q < QUERIES; q += 1u) {
                    for (var t = local; t < TILE; t += WORKGROUP) {
                        let weighed = weigh(scores[q * TILE + t], maximum[q], beta_of(query[q]));
                        scores[q * TILE + t] = weighed.x;
                        if (SELF == 1u) {
                            parts[q * TILE + t] = weighed.y;
                        }
                    }
                }
                workgroupBarrier();

                for (var t = row_group; t < rows; t += WORKGROUP / COLUMNS) {
                    for (var q = 0u; q < QUERIES; q += 1u) {
                        if (SELF == 1u) {
                            weight_sum[q] += parts[q * TILE + t];
                        } else {
                            weight_sum[q] += scores[q * TILE + t];
                        }
                    }
                    for (var o = 0u; o < OUT; o += 1u) {
                        let c = column + o * COLUMNS;
                        if (c < params.columns) {
                            let value = payload(base + t, c);
                            for (var q = 0u; q < QUERIES; q += 1u) {
                                sum[q * OUT + o] += scores[q * TILE + t] * value;
                            }
                        }
                    }
                }
                workgroupBarrier();
            }
        }
    }

    // Join the row groups, in order.
    for (var q = 0u; q < QUERIES; q += 1u) {
        let partial = (first_slot + q) * params.splits + split;
        let writes = row_group == 0u && first_slot + q < slots;
        for (var o = 0u; o < OUT; o += 1u) {
            gathered[local] = sum[q * OUT + o];
            workgroupBarrier();
            let c = column + o * COLUMNS;
            if (writes && c < params.columns) {
                var total = gathered[local];
                for (var g = COLUMNS; g < WORKGROUP; g += COLUMNS) {
                    total += gathered[local + g];
                }
                sums[partial * params.columns + c] = total;
            }
            workgroupBarrier();
        }
        gathered[local] = vec4<f32>(weight_sum[q]);
        workgroupBarrier();
        if (writes && local == 0u && workgroup.z == 0u) {
            var total = 0.0;
            for (var g = 0u; g < WORKGROUP; g += COLUMNS) {
                total += gathered[g].x;
            }
            stats[stats_place(partial)] = vec2<f32>(maximum[q], total);
        }
        workgroupBarrier();
    }
}
