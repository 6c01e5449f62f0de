//! use lib/workgroup
// Lists the queries that are still to be worked on: those of `source` (or all) whose flags have none of the bits of
// `stopped` go to `chosen`, the others to `rest`, each in order. A list is its length, then its queries. One workgroup.

const LANES: u32 = 256u;

struct Params {
    base: vec4<u32>,
    queries: u32,
    from_source: u32,
    stopped: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> flags: array<u32>;
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(4) var<storage, read_write> rest: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) local: u32) {
    var length = params.queries;
    if (params.from_source == 1u) {
        length = min(source[0], params.queries);
    }
    var chosen_length = 0u;
    var rest_length = 0u;
    for (var base = 0u; base < params.queries; base += LANES) {
        let i = base + local;
        var query = i;
        if (params.from_source == 1u && i < length) {
            query = min(source[1u + i], params.queries - 1u);
        }
        var goes_on = false;
        if (i < length) {
            goes_on = (flags[query] & params.stopped) == 0u;
        }
        let place = place_of(local, goes_on);
        if (goes_on) {
            chosen[1u + chosen_length + place.before] = query;
        } else if (i < length) {
            rest[1u + rest_length + (local - place.before)] = query;
        }
        chosen_length += place.total;
        rest_length += min(LANES, length - min(length, base)) - place.total;
    }
    if (local == 0u) {
        chosen[0] = chosen_length;
        rest[0] = rest_length;
    }
}
