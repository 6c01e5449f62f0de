//! use lib/stored_f32
//! use lib/source
//! use lib/mask
//! use lib/own
//! use lib/vote
//! use lib/tile_mask
//! use lib/listed
// Stage 3: the weighted sums of one split's rows, as a register-tiled product of weights and rows. One workgroup
// computes SIDE * QUERIES queries x SIDE * WIDE column vectors, one invocation QUERIES queries x WIDE vectors, over
// slabs of SLAB vectors of weights (4 * SLAB rows) that the workgroup brings into shared memory while it works on the
// slab before. Weights of a slab are padded by one vector against bank conflicts. Everything is unrolled by hand.

const SIDE: u32 = 16u;
// Queries of an invocation, 4 or 8, and column vectors, 1 or 2.
const QUERIES: u32 = 8u;
const WIDE: u32 = 2u;
const SLAB: u32 = 2u;
const PITCH: u32 = 3u;
const VALUES: u32 = 0u;
const KEEP: u32 = 0u;
const RECORDS: u32 = 0u;
// Rows that are skipped at once where no query may use any: a multiple of 4 * SLAB.
const SKIPPED: u32 = 128u;
// Rows of a tile: without a mask more than there are.
const TILE: u32 = select(0x40000000u, SKIPPED, KEEP + RECORDS > 0u);

struct Params {
    base: vec4<u32>,
    first_row: u32,
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    weight_vectors: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    records_first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> source: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> keep: array<u32>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> weight_slab: array<vec4<f32>, SIDE * QUERIES * PITCH>;
var<workgroup> row_slab: array<vec4<f32>, 4u * SLAB * SIDE * WIDE>;

fn store(slot: u32, split: u32, column: u32, sum: vec4<f32>) {
    if (slot < listed() && column < params.source_vectors) {
        let partial = slot * params.splits + split;
        sums[partial * params.columns + params.first_column + column] = sum;
    }
}

// Four rows of a slab, one a column.
fn four_rows(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        row_slab[at],
        row_slab[at + SIDE * WIDE],
        row_slab[at + 2u * SIDE * WIDE],
        row_slab[at + 3u * SIDE * WIDE],
    );
}

fn add_weighed(sum: vec4<f32>, w: vec4<f32>, rows: mat4x4<f32>) -> vec4<f32> {
    return sum + w.x * rows[0] + w.y * rows[1] + w.z * rows[2] + w.w * rows[3];
}

// The vector of weights at `first`, zero for rows that do not belong to the split.
fn weights_at(slot_vectors: u32, first: u32, end: u32) -> vec4<f32> {
    let inside = vec4<u32>(first, first + 1u, first + 2u, first + 3u) < vec4<u32>(end);
    return select(vec4<f32>(0.0), weights[slot_vectors + min(first / 4u, params.weight_vectors - 1u)], inside);
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let workgroup = within + params.base.xyz;
    let first_column = workgroup.x * SIDE * WIDE;
    let first_slot = workgroup.y * SIDE * QUERIES;
    if (first_slot >= listed()) {
        return;
    }
    let split = workgroup.z;
    let begin = split * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.rows);
    // What this invocation brings of a slab: weights of one query, and a vector of one row.
    let load_slot = min(first_slot + index / SLAB % (SIDE * QUERIES), listed() - 1u) * params.weight_vectors;
    let load_weight = 4u * (index % SLAB);
    let load_at = index / SLAB * PITCH + index % SLAB;
    let load_row = index / (SIDE * WIDE);
    let load_column = min(first_column + index % (SIDE * WIDE), params.source_vectors - 1u);

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
    for (var first = begin; first < end; first += TILE) {
        let rows_end = min(first + TILE, end);
        // No rows where no query of the workgroup may use any of them.
        let stop = select(first, rows_end, tile_uses(index, first_slot, first, rows_end));
        var next_weights = vec4<f32>(0.0);
        var next_row = vec4<f32>(0.0);
        if (first < stop) {
            next_weights = weights_at(load_slot, first + load_weight, end);
            next_row = source_at(params.first_row + min(first + load_row, end - 1u), load_column);
        }
        for (var base = first; base < stop; base += 4u * SLAB) {
            if (index < SIDE * QUERIES * SLAB) {
                weight_slab[load_at] = next_weights;
            }
            if (index < 4u * SLAB * SIDE * WIDE) {
                row_slab[index] = next_row;
            }
            workgroupBarrier();
            let next = base + 4u * SLAB;
            next_weights = weights_at(load_slot, next + load_weight, end);
            next_row = source_at(params.first_row + min(next + load_row, end - 1u), load_column);
            for (var k = 0u; k < SLAB; k += 1u) {
                let at = local.y * PITCH + k;
                let rows = four_rows(4u * k * SIDE * WIDE + local.x);
                var far = rows;
                if (WIDE == 2u) {
                    far = four_rows(4u * k * SIDE * WIDE + (WIDE - 1u) * SIDE + local.x);
                }
                let w_0 = weight_slab[at];
                sum_0 = add_weighed(sum_0, w_0, rows);
                let w_1 = weight_slab[at + SIDE * PITCH];
                sum_1 = add_weighed(sum_1, w_1, rows);
                let w_2 = weight_slab[at + 2u * SIDE * PITCH];
                sum_2 = add_weighed(sum_2, w_2, rows);
                let w_3 = weight_slab[at + 3u * SIDE * PITCH];
                sum_3 = add_weighed(sum_3, w_3, rows);
                if (WIDE == 2u) {
                    far_0 = add_weighed(far_0, w_0, far);
                    far_1 = add_weighed(far_1, w_1, far);
                    far_2 = add_weighed(far_2, w_2, far);
                    far_3 = add_weighed(far_3, w_3, far);
                }
                if (QUERIES == 8u) {
                    let w_4 = weight_slab[at + (QUERIES / 2u) * SIDE * PITCH];
                    sum_4 = add_weighed(sum_4, w_4, rows);
                    let w_5 = weight_slab[at + (QUERIES / 2u + 1u) * SIDE * PITCH];
                    sum_5 = add_weighed(sum_5, w_5, rows);
                    let w_6 = weight_slab[at + (QUERIES / 2u + 2u) * SIDE * PITCH];
                    sum_6 = add_weighed(sum_6, w_6, rows);
                    let w_7 = weight_slab[at + (QUERIES / 2u + 3u) * SIDE * PITCH];
                    sum_7 = add_weighed(sum_7, w_7, rows);
                    if (WIDE == 2u) {
                        far_4 = add_weighed(far_4, w_4, far);
                        far_5 = add_weighed(far_5, w_5, far);
                        far_6 = add_weighed(far_6, w_6, far);
                        far_7 = add_weighed(far_7, w_7, far);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    let slot = first_slot + local.y;
    let column = first_column + local.x;
    store(slot, split, column, sum_0);
    store(slot + SIDE, split, column, sum_1);
    store(slot + 2u * SIDE, split, column, sum_2);
    store(slot + 3u * SIDE, split, column, sum_3);
    if (QUERIES == 8u) {
        store(slot + 4u * SIDE, split, column, sum_4);
        store(slot + 5u * SIDE, split, column, sum_5);
        store(slot + 6u * SIDE, split, column, sum_6);
        store(slot + 7u * SIDE, split, column, sum_7);
    }
    if (WIDE == 2u) {
        store(slot, split, column + SIDE, far_0);
        store(slot + SIDE, split, column + SIDE, far_1);
        store(slot + 2u * SIDE, split, column + SIDE, far_2);
        store(slot + 3u * SIDE, split, column + SIDE, far_3);
        if (QUERIES == 8u) {
            store(slot + 4u * SIDE, split, column + SIDE, far_4);
            store(slot + 5u * SIDE, split, column + SIDE, far_5);
            store(slot + 6u * SIDE, split, column + SIDE, far_6);
            store(slot + 7u * SIDE, split, column + SIDE, far_7);
        }
    }
}
