//! use lib/grid
// Writes padded rows of the workspace as rows of the caller's buffer. One workgroup handles ROWS rows, SIDE invocations
// side by side over the words of each.

const WORKGROUP: u32 = 64u;
const SIDE: u32 = 64u;
const ROWS: u32 = 1u;

struct Params {
    base: vec4<u32>,
    rows: u32,
    columns: u32,
    source_first: u32,
    source_stride: u32,
    target_first: u32,
    target_stride: u32,
    width: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> rows: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) within: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = within + params.base.xyz;
    let first = flat_index(workgroup, params.width) * ROWS;
    if (first >= params.rows) {
        return;
    }
    let count = min(ROWS, params.rows - first);
    for (var r = local / SIDE; r < count; r += WORKGROUP / SIDE) {
        let source_at = params.source_first + (first + r) * params.source_stride;
        let target_at = params.target_first + (first + r) * params.target_stride;
        for (var c = local % SIDE; c < params.columns; c += SIDE) {
            rows[target_at + c] = source[source_at + c];
        }
    }
}
