// Manhattan similarity, -|x - k|_1.

fn compare(x: vec4<f32>, k: vec4<f32>) -> f32 {
    return dot(abs(x - k), vec4<f32>(1.0));
}

fn similarity_of(total: f32) -> f32 {
    return -total;
}
