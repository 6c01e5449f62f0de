//! use lib/score
//! use lib/order
//! use lib/records
//! use lib/workgroup
//! use lib/listed
// Picks from a chunk of scores those that may enter each query's list of candidates: under entmax the scores within
// `margin` of the largest that the list or this span has, under top-k those above the floor of the list, and of these
// at most the k largest; ties keep the smaller index. One workgroup handles one span of ENTRIES * LANES scores of one
// query and writes what it picks, in order, to a segment of its own; what finds no room there is remembered by its
// largest score. With REACH scores are upper bounds, and those are picked that reach what the list of lower bounds, of
// which `heads` are the heads, leaves possible: within `margin` of its largest or no less than its floor.

const LANES: u32 = 64u;
const ENTRIES: u32 = 32u;
const TOP: u32 = 0u;
const REACH: u32 = 0u;

struct Params {
    base: vec4<u32>,
    first: u32,
    first_pattern: u32,
    rows: u32,
    score_stride: u32,
    spans: u32,
    room: u32,
    k: u32,
    margin: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read> heads: array<Head>;
@group(0) @binding(4) var<storage, read_write> picked: array<Head>;
@group(0) @binding(5) var<storage, read_write> segments: array<vec2<u32>>;

var<workgroup> dropped: atomic<u32>;
var<workgroup> bests: array<u32, LANES>;
var<workgroup> kth: u32;

// Whether a score may enter the list.
fn may_enter(z: f32, largest: f32, floor: u32) -> bool {
    if (TOP == 1u) {
        return key_of(z) > floor;
    }
    let within = z - largest > -params.margin;
    if (REACH == 1u) {
        return within | (key_of(z) >= floor);
    }
    return within;
}

// The k-th largest of the largest keys of the invocations, by its rank: at least k of the span's scores reach it. For k
// up to LANES.
fn kth_of_bests(local: u32, best: u32) -> u32 {
    bests[local] = best;
    workgroupBarrier();
    var rank = 0u;
    for (var i = 0u; i < LANES; i += 1u) {
        let other = bests[i];
        rank += select(0u, 1u, other > best || (other == best && i < local));
    }
    if (rank + 1u == params.k) {
        kth = best;
    }
    return workgroupUniformLoad(&kth);
}

// The k-th largest key of the span's scores.
fn kth_of_span(local: u32, row: u32, end: u32, begin: u32) -> u32 {
    var found = 0u;
    for (var bit = 0u; bit < 32u; bit += 1u) {
        let tried = found | (0x80000000u >> bit);
        var mine = 0u;
        for (var t = begin + local; t < end; t += LANES) {
            if (counts(scores[row + t]) && key_of(scores[row + t]) >= tried) {
                mine += 1u;
            }
        }
        if (count_of(local, mine) >= params.k) {
            found = tried;
        }
    }
    return found;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.y;
    if (slot >= listed()) {
        return;
    }
    let row = slot * params.score_stride;
    let begin = workgroup.x * LANES * ENTRIES;
    let end = min(begin + LANES * ENTRIES, params.rows);
    let span = slot * params.spans + workgroup.x;
    var head = Head(0u, 0u, 0u, NO_SCORE);
    if (params.first == 0u) {
        head = heads[query_at(slot)];
    }
    if (local == 0u) {
        atomicStore(&dropped, 0u);
    }

    var most = NO_SCORE;
    for (var t = begin + local; t < end; t += LANES) {
        most = max(most, scores[row + t]);
    }
    most = maximum_of(local, most);

    // What enters has a score within the margin of this one, or under top-k a key above the floor.
    let largest = select(max(most, head.maximum), head.maximum, REACH == 1u);
    var floor = head.floor;
    var mine = 0u;
    for (var t = begin + local; t < end; t += LANES) {
        let z = scores[row + t];
        mine += select(0u, 1u, counts(z) && may_enter(z, largest, floor));
    }
    var total = uniform_of(local, count_of(local, mine));
    // Of top-k scores beyond the room only the k largest count. A bound on the k-th leaves few enough, but for ties and
    // large k: then they are those that have the k-th key or more, less some ties.
    if (TOP == 1u && total > params.room && 2u * params.k <= LANES) {
        var best = 0u;
        for (var t = begin + local; t < end; t += LANES) {
            best = max(best, select(0u, key_of(scores[row + t]), counts(scores[row + t])));
        }
        floor = kth_of_bests(local, best) - 1u;
        mine = 0u;
        for (var t = begin + local; t < end; t += LANES) {
            mine += select(0u, 1u, counts(scores[row + t]) && key_of(scores[row + t]) > floor);
        }
        total = uniform_of(local, count_of(local, mine));
    }
    var ties = 0xffffffffu;
    if (TOP == 1u && total > params.room) {
        floor = kth_of_span(local, row, end, begin);
        var above = 0u;
        for (var t = begin + local; t < end; t += LANES) {
            above += select(0u, 1u, counts(scores[row + t]) && key_of(scores[row + t]) > floor);
        }
        ties = params.k - min(params.k, count_of(local, above));
    }

    var kept = 0u;
    if (total > 0u) {
        for (var base = begin; base < end; base += LANES) {
            let t = base + local;
            var z = NO_SCORE;
            if (t < end) {
                z = scores[row + t];
            }
            var enters = counts(z);
            if (TOP == 1u && total > params.room) {
                let tied = enters && key_of(z) == floor;
                let tie = place_of(local, tied);
                enters = enters && (key_of(z) > floor || (tied && tie.before < ties));
                ties -= min(ties, tie.total);
            } else {
                enters = enters && may_enter(z, largest, floor);
            }
            let place = place_of(local, enters);
            if (enters) {
                let at = kept + place.before;
                if (at < params.room) {
                    segments[span * params.room + at] = vec2<u32>(params.first_pattern + t, bitcast<u32>(z));
                } else {
                    atomicMax(&dropped, key_of(z));
                }
            }
            kept += place.total;
        }
    }
    workgroupBarrier();
    if (local == 0u) {
        picked[span] = Head(min(kept, params.room), atomicLoad(&dropped), 0u, most);
    }
}
