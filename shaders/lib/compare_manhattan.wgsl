// Manhattan similarity, -|x - k|_1.

fn compare(x: vec4<f32>, k: vec4<f32>) -> f32 {
    return dot(abs(x - k), vec4<f32>(1.0));
}

fn similarity_of(total: f32) -> f32 {
    return -total;
}

// Adds to four sums what the coordinates of `x` give against those of four keys, a coordinate in each column of `k`.
fn add_compared(sum: vec4<f32>, x: vec4<f32>, k: mat4x4<f32>) -> vec4<f32> {
    return sum + abs(x.xxxx - k[0]) + abs(x.yyyy - k[1]) + abs(x.zzzz - k[2]) + abs(x.wwww - k[3]);
}
