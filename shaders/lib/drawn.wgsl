// What is drawn by chance, from counters, and functions of one number: `src/draw.rs`.

// The permutation of O'Neill's PCG with 32 bits of state.
fn permuted(x: u32) -> u32 {
    let state = x * 747796405u + 2891336453u;
    let word = ((state >> (((state >> 28u) & 15u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

// A number in [0, 1), a multiple of 2^-24. `seed` has been permuted.
fn uniform_at(seed: u32, query: u32, step: u32, coordinate: u32) -> f32 {
    let hash = permuted(permuted(permuted(seed ^ query) ^ step) ^ coordinate);
    return f32(hash >> 8u) / 16777216.0;
}

// The hyperbolic tangent. Built-in ones lose what is small, or overflow where it is large.
fn tanh_of(x: f32) -> f32 {
    let size = min(abs(x), 20.0);
    let square = size * size;
    let e = exp(-2.0 * size);
    var value = (1.0 - e) / (1.0 + e);
    if (size < 0.25) {
        let tail = 17.0 / 315.0 - square * (62.0 / 2835.0);
        value = size * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * tail)));
    }
    return select(value, -value, x < 0.0);
}
