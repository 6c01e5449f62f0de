// The running maximum of softmax, which scales what was summed before it rose. `lib/unscaled` has the same functions.

// What goes into the running maximum.
fn level_of(z: f32) -> f32 {
    return z;
}

fn levels_of(z: vec4<f32>) -> vec4<f32> {
    return z;
}

// The factor of what was summed under maximum `before`.
fn rescale(before: f32, after: f32) -> f32 {
    return exp(before - after);
}
