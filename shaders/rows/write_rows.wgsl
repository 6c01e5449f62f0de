//! use lib/grid
// Writes padded rows of the workspace as rows of the caller's buffer. One workgroup handles one row; one invocation
// every WORKGROUP-th word of it.

const WORKGROUP: u32 = 64u;

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
    let row = flat_index(workgroup, params.width);
    if (row >= params.rows) {
        return;
    }
    for (var c = local; c < params.columns; c += WORKGROUP) {
        let word = source[params.source_first + row * params.source_stride + c];
        rows[params.target_first + row * params.target_stride + c] = word;
    }
}
