// Euclidean similarity, -1/2 |x - k|^2, from the differences themselves: the expansion by products would cancel where
// distances are small beside the norms.

fn compare(x: vec4<f32>, k: vec4<f32>) -> f32 {
    let difference = x - k;
    return dot(difference, difference);
}

fn similarity_of(total: f32) -> f32 {
    return -0.5 * total;
}
