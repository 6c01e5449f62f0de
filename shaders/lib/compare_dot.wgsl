// Dot similarity (and cosine, whose norms are factors of the patterns and of the query): the sum of products.

fn compare(x: vec4<f32>, k: vec4<f32>) -> f32 {
    return dot(x, k);
}

fn similarity_of(total: f32) -> f32 {
    return total;
}

// Adds to four sums what the coordinates of `x` give against those of four keys, a coordinate in each column of `k`.
fn add_compared(sum: vec4<f32>, x: vec4<f32>, k: mat4x4<f32>) -> vec4<f32> {
    return sum + x.x * k[0] + x.y * k[1] + x.z * k[2] + x.w * k[3];
}
