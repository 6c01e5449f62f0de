//! use lib/stored_f32
//! use lib/source
// Stage 3: the weighted sums of one split's rows, as a register-tiled product of weights and rows.
// One workgroup computes TILE queries x SIDE column vectors, one invocation 4 queries x 1 vector, over slabs of SLAB
// vectors of weights (4 * SLAB rows) that the workgroup brings into shared memory.

const TILE: u32 = 64u;
const SIDE: u32 = 16u;
const SLAB: u32 = 4u;
const PITCH: u32 = 5u;
const VALUES: u32 = 0u;

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
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
    padding_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> source: array<Stored>;
@group(0) @binding(4) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> weight_slab: array<vec4<f32>, TILE * PITCH>;
var<workgroup> row_slab: array<vec4<f32>, 4u * SLAB * SIDE>;

fn store(slot: u32, split: u32, column: u32, sum: vec4<f32>) {
    if (slot < queries[0] && column < params.source_vectors) {
        let partial = slot * params.splits + split;
        sums[partial * params.columns + params.first_column + column] = sum;
    }
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let workgroup = within + params.base.xyz;
    let column = workgroup.x * SIDE + local.x;
    let first_slot = workgroup.y * TILE;
    if (first_slot >= queries[0]) {
        return;
    }
    let split = workgroup.z;
    let begin = split * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.rows);
    let load_slot = min(first_slot + index / SLAB, queries[0] - 1u) * params.weight_vectors;
    let column_safe = min(column, params.source_vectors - 1u);

    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    for (var base = begin; base < end; base += 4u * SLAB) {
        let first = base + 4u * (index % SLAB);
        let vector = min(first / 4u, params.weight_vectors - 1u);
        let inside = vec4<u32>(first, first + 1u, first + 2u, first + 3u) < vec4<u32>(end);
        weight_slab[(index / SLAB) * PITCH + index % SLAB] =
            select(vec4<f32>(0.0), weights[load_slot + vector], inside);
        let row = params.first_row + min(base + local.y, end - 1u);
        row_slab[local.y * SIDE + local.x] = source_at(row, column_safe);
        workgroupBarrier();
        for (var k = 0u; k < SLAB; k += 1u) {
            let w_0 = weight_slab[local.y * PITCH + k];
            let w_1 = weight_slab[(local.y + SIDE) * PITCH + k];
            let w_2 = weight_slab[(local.y + 2u * SIDE) * PITCH + k];
            let w_3 = weight_slab[(local.y + 3u * SIDE) * PITCH + k];
            let r_0 = row_slab[(4u * k) * SIDE + local.x];
            let r_1 = row_slab[(4u * k + 1u) * SIDE + local.x];
            let r_2 = row_slab[(4u * k + 2u) * SIDE + local.x];
            let r_3 = row_slab[(4u * k + 3u) * SIDE + local.x];
            sum_0 += w_0.x * r_0 + w_0.y * r_1 + w_0.z * r_2 + w_0.w * r_3;
            sum_1 += w_1.x * r_0 + w_1.y * r_1 + w_1.z * r_2 + w_1.w * r_3;
            sum_2 += w_2.x * r_0 + w_2.y * r_1 + w_2.z * r_2 + w_2.w * r_3;
            sum_3 += w_3.x * r_0 + w_3.y * r_1 + w_3.z * r_2 + w_3.w * r_3;
        }
        workgroupBarrier();
    }
    let slot = first_slot + local.y;
    store(slot, split, column, sum_0);
    store(slot + SIDE, split, column, sum_1);
    store(slot + 2u * SIDE, split, column, sum_2);
    store(slot + 3u * SIDE, split, column, sum_3);
}
