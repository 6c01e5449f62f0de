//! use lib/score
//! use lib/drawn
//! use lib/workgroup
//! use lib/listed
// Ends a step of a rule whose next state is more than a weighted mean, for every query of a list: the sums become the
// result, and with y the sums that go on, x the state and T what a coordinate has of its own
//
//     h  = gain (y - T x) + carry x + field
//     x' = damping x + (1 - damping) activation(h)
//
// in the coordinates that move. The report is that of `update_states`. A query whose next state is compared with keys
// and leaves the range of right answers becomes zero and stops. One workgroup handles one query.

const LANES: u32 = 64u;
// Whether weights are divided by their sum, and softmax1.
const NORMALIZED: u32 = 1u;
const SOFTMAX1: u32 = 0u;
const CLAMP: u32 = 0u;
const FIELD: u32 = 0u;
// Whether queries have a beta of their own, and coordinates move in blocks.
const BETAS: u32 = 0u;
const BLOCKS: u32 = 0u;
// What T is: nothing, the sum of masses over the divisor of the sums, or tanh(beta).
const OWN: u32 = 0u;
const MASS: u32 = 1u;
const TANH_OF_BETA: u32 = 2u;
const ACTIVATION: u32 = 0u;
const SIGN_KEEP: u32 = 1u;
const SIGN_PLUS: u32 = 2u;
const SIGN_ZERO: u32 = 3u;
const DRAWN: u32 = 4u;
const TANH: u32 = 5u;
const NORMALIZE: u32 = 6u;
const PHASOR: u32 = 7u;
const SOFTMAX: u32 = 8u;
const ARGMAX: u32 = 9u;
// Whether blocks are so wide that all invocations share each.
const SHARED: u32 = 0u;
const NOT_FINITE: u32 = 1u;
const NOTHING_LEFT: u32 = 2u;
const STOPPED: u32 = 4u;
const OUT_OF_RANGE: u32 = 16u;
const CYCLE: u32 = 64u;
// Where the flags of a query have the last step of one whose states come back.
const LAST_STEP: u32 = 12u;
const APART: bool = ACTIVATION == NORMALIZE || ACTIVATION == PHASOR || ACTIVATION == SOFTMAX || ACTIVATION == ARGMAX;

struct Params {
    base: vec4<u32>,
    columns: u32,
    key_columns: u32,
    result_from: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    known_first: u32,
    known_stride: u32,
    tolerance: f32,
    stops_early: u32,
    dim: u32,
    field_at: u32,
    beta_at: u32,
    first_query: u32,
    gain: f32,
    carry: f32,
    damping: f32,
    beta: f32,
    divisor: f32,
    largest: f32,
    steepest: f32,
    sharpness: f32,
    seed: u32,
    moving: u32,
    inverse: u32,
    rotation: u32,
    most: u32,
    fresh: u32,
    width: u32,
    groups: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> running_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> running_sums: array<f32>;
@group(0) @binding(4) var<storage, read> known: array<u32>;
@group(0) @binding(5) var<storage, read_write> flags: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<f32>;
@group(0) @binding(7) var<storage, read_write> result: array<f32>;
@group(0) @binding(8) var<storage, read_write> report: array<vec4<u32>>;

// Where a query's rows are, and how its sums become y and T.
struct Row {
    sums: u32,
    state: u32,
    known: u32,
    number: u32,
    numerator: f32,
    denominator: f32,
    own: f32,
}

fn local_of(row: Row, c: u32) -> f32 {
    let sum = running_sums[row.sums + c];
    let x = state[row.state + c];
    var y = sum * row.numerator / row.denominator;
    if (OWN == MASS) {
        // Whole numbers stay whole until they are divided.
        y = (sum - row.own * x) / row.denominator;
    } else if (OWN == TANH_OF_BETA) {
        y -= row.own * x;
    }
    var h = params.gain * y + params.carry * x;
    if (FIELD == 1u) {
        h += bitcast<f32>(known[row.known + params.field_at + c]);
    }
    return h;
}

fn signed(h: f32, zero: f32) -> f32 {
    return select(select(zero, -1.0, h < 0.0), 1.0, h > 0.0);
}

// What becomes of one h, where no other matters.
fn activated(row: Row, h: f32, x: f32, c: u32) -> f32 {
    if (ACTIVATION == SIGN_KEEP) {
        return signed(h, x);
    }
    if (ACTIVATION == SIGN_PLUS) {
        return signed(h, 1.0);
    }
    if (ACTIVATION == SIGN_ZERO) {
        return signed(h, 0.0);
    }
    if (ACTIVATION == DRAWN) {
        let steep = clamp(h, -params.steepest, params.steepest) * params.sharpness;
        let up = 1.0 / (1.0 + exp(-steep));
        return select(-1.0, 1.0, uniform_at(params.seed, row.number, params.step, c) < up);
    }
    if (ACTIVATION == TANH) {
        return tanh_of(h);
    }
    return h;
}

// Whether a coordinate is among those that move: whether its distance from the first of them is a multiple of the
// number of blocks, which is a power of two times an odd number that has an inverse among words.
fn moves(c: u32) -> bool {
    if (BLOCKS == 0u) {
        return true;
    }
    let product = (c - params.moving) * params.inverse;
    let spun = (product >> (params.rotation % 32u)) | (product << ((32u - params.rotation) % 32u));
    return c >= params.moving && spun <= params.most;
}

// The next value of a coordinate.
fn settled(row: Row, turned: f32, x: f32, c: u32) -> f32 {
    var next = params.damping * x + (1.0 - params.damping) * turned;
    if (!moves(c)) {
        next = x;
    }
    if (CLAMP == 1u) {
        let word = known[row.known + c / 32u];
        next = select(next, x, ((word >> (c % 32u)) & 1u) == 1u);
    }
    return next;
}

// Pairs of coordinates over their magnitudes.
fn make_phasors(local: u32, first: u32) {
    for (var pair = local; pair < params.groups; pair += LANES) {
        let at = first + 2u * pair;
        let re = running_sums[at];
        let im = running_sums[at + 1u];
        let largest = max(abs(re), abs(im));
        var phasor = vec2<f32>(1.0, 0.0);
        if (largest > 0.0) {
            let scaled = vec2<f32>(re / largest, im / largest);
            phasor = scaled / sqrt(dot(scaled, scaled));
        }
        running_sums[at] = phasor.x;
        running_sums[at + 1u] = phasor.y;
    }
}

// Blocks of coordinates to their softmax, or to a 1 at the first of their largest: one block an invocation.
fn make_blocks(local: u32, first: u32) {
    for (var block = local; block < params.groups; block += LANES) {
        let at = first + block * params.width;
        var largest = running_sums[at];
        var place = 0u;
        for (var i = 1u; i < params.width; i += 1u) {
            let h = running_sums[at + i];
            if (h > largest) {
                largest = h;
                place = i;
            }
        }
        var sum = 0.0;
        for (var i = 0u; i < params.width; i += 1u) {
            let weight = exp(running_sums[at + i] - largest);
            sum += weight;
            running_sums[at + i] = select(weight, select(0.0, 1.0, i == place), ACTIVATION == ARGMAX);
        }
        if (ACTIVATION == SOFTMAX) {
            for (var i = 0u; i < params.width; i += 1u) {
                running_sums[at + i] /= sum;
            }
        }
    }
}

// The same of wide blocks, all invocations at each.
fn share_blocks(local: u32, first: u32) {
    for (var block = 0u; block < params.groups; block += 1u) {
        let at = first + block * params.width;
        var largest = NO_SCORE;
        for (var i = local; i < params.width; i += LANES) {
            largest = max(largest, running_sums[at + i]);
        }
        largest = maximum_of(local, largest);
        var sum = 0.0;
        // Places below zero, so that the largest is the first.
        var place = -16777216.0;
        for (var i = local; i < params.width; i += LANES) {
            let h = running_sums[at + i];
            sum += exp(h - largest);
            place = max(place, select(-16777216.0, -f32(i), h >= largest));
        }
        sum = sum_of(local, sum);
        place = maximum_of(local, place);
        for (var i = local; i < params.width; i += LANES) {
            let weight = exp(running_sums[at + i] - largest) / sum;
            running_sums[at + i] = select(weight, select(0.0, 1.0, abs(f32(i) + place) < 0.5), ACTIVATION == ARGMAX);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.x;
    if (slot >= listed()) {
        return;
    }
    let query = query_at(slot);
    let held = flags[query];
    let before = held & (NOT_FINITE | OUT_OF_RANGE);
    let stats = running_stats[2u * slot + params.slot];
    var status = before;
    var row = Row(
        slot * params.columns,
        query * params.key_columns,
        params.known_first + query * params.known_stride,
        params.first_query + query,
        1.0,
        params.divisor,
        stats.y,
    );
    if (NORMALIZED == 1u) {
        // A sum of weights is a finite number above zero. Its bits tell, whatever a compiler takes floats for.
        if (bitcast<u32>(stats.y) - 1u >= 0x7f7fffffu) {
            status |= NOTHING_LEFT;
        }
        row.denominator = stats.y;
        if (SOFTMAX1 == 1u) {
            let maximum = max(stats.x, 0.0);
            row.numerator = shrink(stats.x, maximum);
            row.denominator = stats.y * row.numerator + shrink(0.0, maximum);
        }
    } else if (stats.x < -SCORE_LIMIT) {
        status |= NOTHING_LEFT;
    }
    if (OWN == TANH_OF_BETA) {
        var beta = params.beta;
        if (BETAS == 1u) {
            beta *= bitcast<f32>(known[row.known + params.beta_at]);
        }
        row.own = tanh_of(beta);
    }

    // Where an activation takes more than one coordinate, h takes the place of its sum first.
    var largest = 0.0;
    for (var c = local; c < params.columns; c += LANES) {
        if (c >= params.result_from) {
            var y = 0.0;
            if (status == 0u) {
                y = running_sums[row.sums + c] * row.numerator / row.denominator;
            }
            result[query * (params.columns - params.result_from) + c - params.result_from] = y;
        }
        if (APART && c < params.key_columns) {
            var h = 0.0;
            if (status == 0u && c < params.dim) {
                h = local_of(row, c);
            }
            running_sums[row.sums + c] = h;
            largest = max(largest, abs(h));
        }
    }
    var scale = 1.0;
    if (ACTIVATION == NORMALIZE) {
        // The largest magnitude is divided out first, so that no square overflows or vanishes.
        largest = max(maximum_of(local, largest), 1.0e-30);
        var square = 0.0;
        for (var c = local; c < params.key_columns; c += LANES) {
            let h = running_sums[row.sums + c] / largest;
            square += h * h;
        }
        scale = max(largest * sqrt(sum_of(local, square)), 1.0e-12);
    } else if (APART) {
        storageBarrier();
        workgroupBarrier();
        // There are no groups where no state goes on. A branch around them would be one that FXC takes for varying.
        if (ACTIVATION == PHASOR) {
            make_phasors(local, row.sums);
        } else if (SHARED == 1u) {
            share_blocks(local, row.sums);
        } else {
            make_blocks(local, row.sums);
        }
        storageBarrier();
        workgroupBarrier();
    }

    var change = 0.0;
    var farthest = 0.0;
    for (var c = local; c < params.key_columns; c += LANES) {
        let x = state[row.state + c];
        var next = 0.0;
        // Behind the last coordinate there is padding.
        if (status == 0u && c < params.dim) {
            var turned = 0.0;
            if (APART) {
                turned = running_sums[row.sums + c] / scale;
            } else {
                turned = activated(row, local_of(row, c), x, c);
            }
            next = settled(row, turned, x, c);
        }
        change = max(change, abs(next - x));
        farthest = max(farthest, abs(next));
        state[row.state + c] = next;
    }
    farthest = maximum_of(local, farthest);
    change = maximum_of(local, change);
    // The flags have been read by all.
    storageBarrier();
    workgroupBarrier();
    if (farthest > params.largest) {
        status |= OUT_OF_RANGE;
        for (var c = local; c < params.columns; c += LANES) {
            if (c >= params.result_from) {
                result[query * (params.columns - params.result_from) + c - params.result_from] = 0.0;
            }
            if (c < params.key_columns) {
                state[row.state + c] = 0.0;
            }
        }
    }
    if (local == 0u) {
        // Updates of a sweep over blocks, or of an iteration of a network, are reported together.
        var told = status | (held & CYCLE);
        if ((params.fresh & 1u) == 0u) {
            change = max(change, bitcast<f32>(report[query].z));
            told |= report[query].w & NOTHING_LEFT;
        }
        // One that has left the range has had its last step.
        if ((held & STOPPED) == 0u) {
            report[query] = vec4<u32>(params.stamp, params.step, bitcast<u32>(change), told);
        }
        var after = before | (status & OUT_OF_RANGE) | (held & CYCLE) | ((held >> LAST_STEP) << LAST_STEP);
        if (farthest > params.largest) {
            after |= STOPPED;
        }
        if (params.stops_early == 1u && (params.fresh & 2u) != 0u) {
            if (change <= params.tolerance) {
                after |= STOPPED;
            }
            if ((held & CYCLE) != 0u && (held >> LAST_STEP) == params.step) {
                after |= STOPPED;
            }
        }
        after |= held & STOPPED;
        flags[query] = after;
    }
}
