//! use lib/score
//! use lib/order
//! use lib/rank
//! use lib/records
//! use lib/workgroup
//! use lib/listed
// Writes each query's list of the k largest scores in order: positions, and scores as they are reported; ties keep the
// smaller index, and what is below `least` is no hit. A row of the report has a stamp, how many patterns meet the
// threshold, how many hits are written, and the status. A query that is not finite or out of range has no hits. One
// workgroup handles one query.

const LANES: u32 = 128u;
const NOT_FINITE: u32 = 1u;
const NOTHING_LEFT: u32 = 2u;
const OUT_OF_RANGE: u32 = 16u;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    k: u32,
    counted: u32,
    least: f32,
    factor: f32,
    stamp: u32,
    wanted: u32,
    positions_first: u32,
    positions_stride: u32,
    similarity_first: u32,
    similarity_stride: u32,
    report_first: u32,
    report_stride: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

// Which of the buffers the caller wants written.
const POSITIONS: u32 = 1u;
const SIMILARITY: u32 = 2u;
const REPORT: u32 = 4u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> heads: array<Head>;
@group(0) @binding(3) var<storage, read> list: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> flags: array<u32>;
@group(0) @binding(5) var<storage, read> found: array<u32>;
@group(0) @binding(6) var<storage, read_write> positions: array<u32>;
@group(0) @binding(7) var<storage, read_write> similarity: array<f32>;
@group(0) @binding(8) var<storage, read_write> report: array<u32>;

fn write(query: u32, rank: u32, position: u32, measure: f32) {
    if ((params.wanted & POSITIONS) != 0u) {
        positions[params.positions_first + query * params.positions_stride + rank] = position;
    }
    if ((params.wanted & SIMILARITY) != 0u) {
        similarity[params.similarity_first + query * params.similarity_stride + rank] = measure;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let first = query * params.capacity;
    let refused = flags[query] & (NOT_FINITE | OUT_OF_RANGE);
    let count = select(min(heads[query].count, params.k), 0u, refused != 0u);

    var mine = 0u;
    for (var i = local; i < count; i += LANES) {
        let entry = list[first + i];
        let z = listed_score(first + i);
        let rank = rank_of(first, count, i);
        let hit = params.counted == 0u || z >= params.least;
        write(query, rank, select(NO_PATTERN, entry.x, hit), select(0.0, params.factor * z + 0.0, hit));
        mine += select(0u, 1u, hit);
    }
    for (var i = count + local; i < params.k; i += LANES) {
        write(query, i, NO_PATTERN, 0.0);
    }
    let hits = count_of(local, mine);
    if (local == 0u && (params.wanted & REPORT) != 0u) {
        let at = params.report_first + query * params.report_stride;
        let all = select(hits, found[query], params.counted == 1u && refused == 0u);
        report[at] = params.stamp;
        report[at + 1u] = all;
        report[at + 2u] = hits;
        report[at + 3u] = select(select(0u, NOTHING_LEFT, count == 0u), refused, refused != 0u);
    }
}
