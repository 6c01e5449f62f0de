// What the invocations of a workgroup of LANES settle among themselves, always in the same order. Every function holds
// barriers: all invocations must call it together.

var<workgroup> shared_floats: array<f32, LANES>;
var<workgroup> shared_votes: array<atomic<u32>, LANES / 32u>;
var<workgroup> shared_word: atomic<u32>;
var<workgroup> shared_uniform: u32;

fn sum_of(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_floats[local] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            shared_floats[local] += shared_floats[local + half];
        }
        workgroupBarrier();
    }
    return shared_floats[0];
}

fn maximum_of(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_floats[local] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            shared_floats[local] = max(shared_floats[local], shared_floats[local + half]);
        }
        workgroupBarrier();
    }
    return shared_floats[0];
}

fn count_of(local: u32, value: u32) -> u32 {
    workgroupBarrier();
    if (local == 0u) {
        atomicStore(&shared_word, 0u);
    }
    workgroupBarrier();
    if (value > 0u) {
        atomicAdd(&shared_word, value);
    }
    workgroupBarrier();
    return atomicLoad(&shared_word);
}

// A value that all invocations hold, as one that the compiler knows they hold.
fn uniform_of(local: u32, value: u32) -> u32 {
    workgroupBarrier();
    if (local == 0u) {
        shared_uniform = value;
    }
    return workgroupUniformLoad(&shared_uniform);
}

// Among the invocations that vote: how many there are, and how many stand before this one.
struct Place {
    total: u32,
    before: u32,
}

fn place_of(local: u32, votes: bool) -> Place {
    workgroupBarrier();
    if (local < LANES / 32u) {
        atomicStore(&shared_votes[local], 0u);
    }
    workgroupBarrier();
    if (votes) {
        atomicOr(&shared_votes[local / 32u], 1u << (local % 32u));
    }
    workgroupBarrier();
    var place = Place(0u, 0u);
    for (var word = 0u; word < LANES / 32u; word += 1u) {
        let bits = atomicLoad(&shared_votes[word]);
        place.total += countOneBits(bits);
        if (word < local / 32u) {
            place.before += countOneBits(bits);
        } else if (word == local / 32u) {
            place.before += countOneBits(bits & ((1u << (local % 32u)) - 1u));
        }
    }
    return place;
}
