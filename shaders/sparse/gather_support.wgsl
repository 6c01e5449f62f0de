//! use lib/stored_f32
//! use lib/source
//! use lib/records
//! use lib/listed
// Sums the rows of one window that are in each query's support, by weight. One workgroup handles COLUMNS column vectors
// of one query; WORKGROUP / COLUMNS groups share the support. The first window starts the running sums, and the sum of
// weights, which the threshold has found, goes to the running statistics with them.

const WORKGROUP: u32 = 64u;
const COLUMNS: u32 = 16u;
const VALUES: u32 = 0u;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    window_first: u32,
    window_rows: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    first: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> heads: array<Head>;
@group(0) @binding(3) var<storage, read> records: array<Record>;
@group(0) @binding(4) var<storage, read> list: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> source: array<Stored>;
@group(0) @binding(6) var<storage, read> terms: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> running_stats: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> running_sums: array<vec4<f32>>;

var<workgroup> gathered: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.y;
    if (slot >= listed()) {
        return;
    }
    let query = query_at(slot);
    let column = workgroup.x * COLUMNS + local % COLUMNS;
    let group = local / COLUMNS;
    let inside = column < params.source_vectors;
    let first_entry = query * params.capacity;
    let count = min(heads[query].count, params.capacity);

    var sum = vec4<f32>(0.0);
    if (inside) {
        for (var i = group; i < count; i += WORKGROUP / COLUMNS) {
            let entry = list[first_entry + i];
            // Indices below the window wrap around to large ones.
            let row = entry.x - params.window_first;
            if (row < params.window_rows) {
                sum += bitcast<f32>(entry.y) * source_at(row, column);
            }
        }
    }
    gathered[local] = sum;
    workgroupBarrier();
    if (group == 0u) {
        for (var g = COLUMNS; g < WORKGROUP; g += COLUMNS) {
            sum += gathered[local + g];
        }
        if (inside) {
            let at = slot * params.columns + params.first_column + column;
            if (params.first == 0u) {
                sum += running_sums[at];
            }
            running_sums[at] = sum;
        }
        if (local == 0u && workgroup.x == 0u) {
            running_stats[2u * slot] = vec2<f32>(0.0, records[query].sum);
        }
    }
}
