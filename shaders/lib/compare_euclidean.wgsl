// Euclidean similarity, -1/2 |x - k|^2, from the differences themselves: the expansion by products would cancel where
// distances are small beside the norms.

fn compare(x: vec4<f32>, k: vec4<f32>) -> f32 {
    let difference = x - k;
    return dot(difference, difference);
}

fn similarity_of(total: f32) -> f32 {
    return -0.5 * total;
}

// Adds to four sums what the coordinates of `x` give against those of four keys, a coordinate in each column of `k`.
fn add_compared(sum: vec4<f32>, x: vec4<f32>, k: mat4x4<f32>) -> vec4<f32> {
    let d_0 = x.xxxx - k[0];
    let d_1 = x.yyyy - k[1];
    let d_2 = x.zzzz - k[2];
    let d_3 = x.wwww - k[3];
    return sum + d_0 * d_0 + d_1 * d_1 + d_2 * d_2 + d_3 * d_3;
}
