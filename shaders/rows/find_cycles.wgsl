//! use lib/vote
//! use lib/listed
// Compares a state of every query of a list, as bits, with one that was saved at an earlier step, and saves it where
// asked. A query has one state, or those of a network, one dispatch each. One whose states have all come back is
// marked: they go round for ever, so the last step of all, or the first after this one that has the same states, is its
// last. One workgroup handles one query.

const WORKGROUP: u32 = 64u;
const NOT_FINITE: u32 = 1u;
const STOPPED: u32 = 4u;
const OUT_OF_RANGE: u32 = 16u;
// Whether a state of the query, of those before this one, has not come back.
const DIFFERS: u32 = 128u;
const CYCLE: u32 = 64u;
const LAST_STEP: u32 = 12u;

struct Params {
    base: vec4<u32>,
    vectors: u32,
    compares: u32,
    saves: u32,
    step: u32,
    last: u32,
    is_first: u32,
    is_last: u32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> saved: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> flags: array<u32>;
@group(0) @binding(5) var<storage, read_write> report: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let row = query * params.vectors;
    var differs = params.compares == 0u;
    for (var v = local; v < params.vectors; v += WORKGROUP) {
        let now = state[row + v];
        if (params.compares == 1u) {
            let same = now == saved[row + v];
            differs = differs || !(same.x && same.y && same.z && same.w);
        }
        if (params.saves == 1u) {
            saved[row + v] = now;
        }
    }
    differs = any_says(local, differs);
    if (local == 0u) {
        let held = flags[query];
        var after = held & ~DIFFERS;
        if (params.is_first == 0u) {
            differs = differs || (held & DIFFERS) != 0u;
        }
        if (differs) {
            if (params.is_last == 0u) {
                after |= DIFFERS;
            }
        } else if (params.is_last == 1u && (held & (NOT_FINITE | STOPPED | OUT_OF_RANGE | CYCLE)) == 0u) {
            report[query].w |= CYCLE;
            after |= CYCLE | (params.last << LAST_STEP);
            if (params.last == params.step) {
                after |= STOPPED;
            }
        }
        flags[query] = after;
    }
}
