//! use lib/score
//! use lib/order
//! use lib/records
//! use lib/workgroup
//! use lib/listed
// Makes each query's list of patterns that bounds did not rule out, whose scores have been computed, the list of
// candidates that a pass over all scores makes: under entmax those within `margin` of the largest; and with REPORT the
// list of largest scores. A query whose list had no room for a pattern that may matter is flagged instead. One
// workgroup handles one query.

const LANES: u32 = 128u;
const REPORT: u32 = 0u;
const OVERFLOW: u32 = 32u;

struct Params {
    base: vec4<u32>,
    capacity: u32,
    reach: f32,
    margin: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> scored: array<f32>;
@group(0) @binding(3) var<storage, read_write> flags: array<u32>;
@group(0) @binding(4) var<storage, read_write> heads: array<Head>;
@group(0) @binding(5) var<storage, read_write> list: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> top_heads: array<Head>;
@group(0) @binding(7) var<storage, read_write> top_list: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let first = query * params.capacity;
    let head = heads[query];
    // The list of lower bounds.
    let lower = top_heads[query];
    let lost = head.dropped != 0u
        && (head.dropped >= lower.floor || score_of(head.dropped) - lower.maximum > -params.reach);
    if (uniform_of(local, u32(lost)) == 1u) {
        if (local == 0u) {
            flags[query] |= OVERFLOW;
        }
        return;
    }
    let count = uniform_of(local, min(head.count, params.capacity));
    var most = NO_SCORE;
    for (var i = local; i < count; i += LANES) {
        most = max(most, scored[first + i]);
    }
    most = maximum_of(local, most);
    var kept = 0u;
    for (var base = 0u; base < count; base += LANES) {
        let i = base + local;
        var entry = vec2<u32>(0u);
        var z = NO_SCORE;
        if (i < count) {
            z = scored[first + i];
            entry = vec2<u32>(list[first + i].x, bitcast<u32>(z));
            if (REPORT == 1u) {
                top_list[first + i] = entry;
            }
        }
        // An entry is read before another takes its place.
        storageBarrier();
        let stays = i < count && z - most > -params.margin;
        let place = place_of(local, stays);
        if (stays) {
            list[first + kept + place.before] = entry;
        }
        kept += place.total;
        storageBarrier();
    }
    // The heads have been read by all.
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) {
        heads[query] = Head(kept, 0u, 0u, most);
        if (REPORT == 1u) {
            top_heads[query] = Head(count, 0u, 0u, most);
        }
        flags[query] &= ~OVERFLOW;
    }
}
