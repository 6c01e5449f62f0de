//! use lib/score
//! use lib/order
//! use lib/entmax
//! use lib/records
//! use lib/own_beta
//! use lib/weigh_softmax
//! use lib/workgroup
//! use lib/listed
// Turns the scores of a chunk into unnormalised weights, in place, by each query's record, and adds up what is reported
// of them. Of weights that no record decides, these are potentials. One workgroup handles one query.

const LANES: u32 = 256u;
const RULE: u32 = 1u;
const ENTMAX: u32 = 1u;
const TOP: u32 = 2u;
const UNNORMALIZED: u32 = 3u;
const RECORDS: u32 = 0u;
// The smallest weight that counts as support beside a largest of 1: the smallest normal f32.
const SMALLEST: f32 = 1.1754944e-38;

struct Params {
    base: vec4<u32>,
    first: u32,
    rows: u32,
    score_stride: u32,
    splits: u32,
    gain: f32,
    exponent: f32,
    margin: f32,
    beta: f32,
    threshold: f32,
    records_first: u32,
    padding_0: u32,
    padding_1: u32,
}

// Sums over the patterns so far, w being the unnormalised weight: how many have one, sum w, sum w ln w, sum w (z -
// max) or of potentials, sum w (1 - w^gain) / gain, the largest w, and of ties how many have been given weight.
struct Tally {
    support: u32,
    sum: f32,
    log_sum: f32,
    score_sum: f32,
    entropy_sum: f32,
    ties: u32,
    largest: f32,
    padding_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<Record>;
@group(0) @binding(3) var<storage, read> keep: array<u32>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> tallies: array<Tally>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec2<f32>>;

// (1 - w^gain) / gain, which is -log w at alpha = 1.
fn loss_of(weight: f32, difference: f32, record: Record) -> f32 {
    if (FORM == LINEAR) {
        return 1.0 - weight;
    }
    if (FORM == SQUARE) {
        return 2.0 * (1.0 - sqrt(weight));
    }
    let log_power = params.gain * entmax_log(difference, record.s, record.log_weight);
    var loss = 1.0 - exp(log_power);
    if (log_power > -0.1) {
        let series = 1.0 / 6.0 + log_power * (1.0 / 24.0 + log_power * (1.0 / 120.0 + log_power / 720.0));
        loss = -log_power * (1.0 + log_power * (0.5 + log_power * series));
    }
    return loss * params.exponent;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    let slot = workgroup.x;
    if (slot >= listed()) {
        return;
    }
    let query = query_at(slot);
    let row = slot * params.score_stride;
    let record = records[query];
    let beta = beta_of(query);
    var before = Tally(0u, 0.0, 0.0, 0.0, 0.0, 0u, 0.0, 0u);
    // The first invocation alone reads what it writes in the end.
    if (params.first == 0u && local == 0u) {
        before = tallies[query];
    }
    var ties = uniform_of(local, before.ties);

    var support = 0u;
    var sum = 0.0;
    var log_sum = 0.0;
    var score_sum = 0.0;
    var entropy_sum = 0.0;
    var largest = 0.0;
    for (var base = 0u; base < params.rows; base += LANES) {
        let t = base + local;
        var z = NO_SCORE;
        if (t < params.rows) {
            z = scores[row + t];
        }
        let difference = z - record.maximum;
        var weight = 0.0;
        if (RULE == ENTMAX) {
            weight = select(0.0, entmax_weight(difference, record.s, record.log_weight), counts(z));
        } else if (RULE == TOP) {
            let key = key_of(z);
            let tied = counts(z) && key == record.floor;
            let tie = place_of(local, tied);
            if (counts(z) && (key > record.floor || (tied && ties + tie.before < record.ties))) {
                weight = softmax_weight(z, record.maximum);
            }
            ties += tie.total;
        } else if (RULE == UNNORMALIZED) {
            weight = weigh(z, 0.0, beta).x;
            score_sum += potential_of(z);
        } else {
            weight = softmax_weight(z, record.maximum);
        }
        if (RULE == UNNORMALIZED) {
            sum += weight;
        } else if (weight >= SMALLEST) {
            support += 1u;
            log_sum += weight * log(weight);
            score_sum += weight * difference;
            largest = max(largest, weight);
            if (RULE == ENTMAX) {
                entropy_sum += weight * loss_of(weight, difference, record);
            }
            sum += weight;
        } else {
            weight = 0.0;
        }
        if (t < params.rows) {
            scores[row + t] = weight;
        }
    }
    support = count_of(local, support);
    sum = sum_of(local, sum);
    log_sum = sum_of(local, log_sum);
    score_sum = sum_of(local, score_sum);
    entropy_sum = sum_of(local, entropy_sum);
    largest = maximum_of(local, largest);
    for (var split = local; split < params.splits; split += LANES) {
        stats[slot * params.splits + split] = vec2<f32>(0.0, select(0.0, sum, split == 0u));
    }
    if (local == 0u) {
        tallies[query] = Tally(
            before.support + support,
            before.sum + sum,
            before.log_sum + log_sum,
            before.score_sum + score_sum,
            before.entropy_sum + entropy_sum,
            ties,
            max(before.largest, largest),
            0u,
        );
    }
}
