//! use lib/score
//! use lib/order
//! use lib/records
//! use lib/list
//! use lib/workgroup
//! use lib/listed
// Folds what was picked from a chunk of scores (`filter_candidates`) into each query's list of candidates, in the order
// of the patterns. Under entmax these are the scores within `margin` of the running maximum, because no other can have
// weight; the list is pruned when the maximum rises, and what finds no room is remembered by its largest score. Under
// top-k they are the k largest so far; ties keep the smaller index. With REACH scores are upper bounds, and the list
// has those that reach what the list of lower bounds leaves possible (`filter_candidates`). One workgroup handles one
// query.

const LANES: u32 = 128u;
const TOP: u32 = 0u;
const REACH: u32 = 0u;

struct Params {
    base: vec4<u32>,
    first: u32,
    spans: u32,
    room: u32,
    capacity: u32,
    k: u32,
    margin: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> picked: array<Head>;
@group(0) @binding(3) var<storage, read> segments: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> lowers: array<Head>;
@group(0) @binding(5) var<storage, read_write> heads: array<Head>;
@group(0) @binding(6) var<storage, read_write> list: array<vec2<u32>>;

var<workgroup> dropped: atomic<u32>;

// Whether a score is within the margin, or reaches the floor of lower bounds.
fn may_stay(z: f32, maximum: f32, floor: u32) -> bool {
    let within = z - maximum > -params.margin;
    if (REACH == 1u) {
        return within | (key_of(z) >= floor);
    }
    return within;
}

// The key below which nothing enters.
fn floor_of(query: u32, head: Head) -> u32 {
    if (REACH == 1u) {
        return lowers[query].floor;
    }
    return head.floor;
}

// Keeps the entries of the list at `first` that may stay, in order; returns how many.
fn prune(local: u32, first: u32, count: u32, maximum: f32, floor: u32) -> u32 {
    var kept = 0u;
    for (var base = 0u; base < count; base += LANES) {
        let i = base + local;
        var entry = vec2<u32>(0u);
        if (i < count) {
            entry = list[first + i];
        }
        // An entry is read before another takes its place.
        storageBarrier();
        let z = bitcast<f32>(entry.y);
        let stays = i < count && may_stay(z, maximum, floor);
        let place = place_of(local, stays);
        if (stays) {
            list[first + kept + place.before] = entry;
        }
        kept += place.total;
        storageBarrier();
    }
    return kept;
}

// Keeps the k largest entries of the list at `first`, in order; ties keep the smaller index.
fn select_top(local: u32, first: u32, count: u32, floor: u32) {
    var ties = ties_for(local, first, count, floor);
    var kept = 0u;
    for (var base = 0u; base < count; base += LANES) {
        let i = base + local;
        var entry = vec2<u32>(0u);
        if (i < count) {
            entry = list[first + i];
        }
        // An entry is read before another takes its place.
        storageBarrier();
        let z = bitcast<f32>(entry.y);
        let tied = i < count && key_of(z) == floor;
        let tie = place_of(local, tied);
        let stays = i < count && (key_of(z) > floor || (tied && tie.before < ties));
        let place = place_of(local, stays);
        if (stays) {
            list[first + kept + place.before] = entry;
        }
        kept += place.total;
        ties -= min(ties, tie.total);
        storageBarrier();
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
    let first_span = workgroup.x * params.spans;
    var head = Head(0u, 0u, 0u, NO_SCORE);
    if (params.first == 0u) {
        head = heads[query];
    }
    if (local == 0u) {
        atomicStore(&dropped, head.dropped);
    }

    var most = head.maximum;
    if (REACH == 1u) {
        most = lowers[query].maximum;
    } else {
        for (var base = 0u; base < params.spans; base += LANES) {
            if (base + local < params.spans) {
                most = max(most, picked[first_span + base + local].maximum);
            }
        }
        most = maximum_of(local, most);
    }
    for (var base = 0u; base < params.spans; base += LANES) {
        if (base + local < params.spans) {
            atomicMax(&dropped, picked[first_span + base + local].dropped);
        }
    }
    var floor = uniform_of(local, floor_of(query, head));
    var count = uniform_of(local, min(head.count, params.capacity));
    // A floor of lower bounds rises without their maximum.
    if (TOP == 0u && uniform_of(local, u32(REACH == 1u || most > head.maximum)) == 1u) {
        count = uniform_of(local, prune(local, first, count, most, floor));
    }

    for (var span = 0u; span < params.spans; span += 1u) {
        let held = uniform_of(local, min(picked[first_span + span].count, params.room));
        for (var base = 0u; base < held; base += LANES) {
            let i = base + local;
            var entry = vec2<u32>(0u);
            if (i < held) {
                entry = segments[(first_span + span) * params.room + i];
            }
            let z = bitcast<f32>(entry.y);
            var enters = i < held;
            if (TOP == 1u) {
                enters = enters && key_of(z) > floor;
            } else {
                enters = enters && may_stay(z, most, floor);
            }
            let place = place_of(local, enters);
            var start = count;
            if (TOP == 1u && uniform_of(local, u32(count + place.total > params.capacity)) == 1u) {
                floor = uniform_of(local, kth_key(local, first, count));
                select_top(local, first, count, floor);
                start = params.k;
                storageBarrier();
            }
            if (enters) {
                let at = start + place.before;
                if (at < params.capacity) {
                    list[first + at] = entry;
                } else {
                    atomicMax(&dropped, key_of(z));
                }
            }
            count = uniform_of(local, min(start + place.total, params.capacity));
            storageBarrier();
        }
    }
    // A floor spares the next chunk most of its entries.
    if (TOP == 1u && (count >= 2u * params.k || (floor == 0u && count > params.k))) {
        floor = uniform_of(local, kth_key(local, first, count));
        select_top(local, first, count, floor);
        count = params.k;
    }
    // The head has been read by all.
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) {
        heads[query] = Head(count, atomicLoad(&dropped), floor, most);
    }
}
