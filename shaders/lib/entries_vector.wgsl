// What a workgroup that multiplies fragments shares, in vectors of four: the fewest and widest accesses. Vulkan counts
// strides in what a pointer points to. Places are in vectors. For `fused_matrix`.

var<workgroup> tile: array<vec4<f16>, PATTERNS * TILE_STRIDE>;
var<workgroup> weights: array<vec4<f16>, PARTS * PART_STRIDE>;
var<workgroup> scores: array<vec4<f32>, GROUP * SCORE_STRIDE>;

fn put_tile(i: u32, entry: vec4<f16>) {
    tile[i] = entry;
}

fn put_weights(i: u32, entry: vec4<f16>) {
    weights[i] = entry;
}

fn put_scores(i: u32, entry: vec4<f32>) {
    scores[i] = entry;
}

fn scores_at(i: u32) -> vec4<f32> {
    return scores[i];
}

// Patterns across, to be compared with.
fn key_fragment_at(i: u32) -> Right {
    return coopLoad<Right>(&tile[i], TILE_STRIDE);
}

// Patterns down, to be summed.
fn payload_fragment_at(i: u32) -> Right {
    return coopLoadT<Right>(&tile[i], TILE_STRIDE);
}

fn weights_at(i: u32) -> Left {
    return coopLoadT<Left>(&weights[i], WEIGHT_STRIDE);
}

fn load_scores(i: u32) -> Accumulator {
    return coopLoadT<Accumulator>(&scores[i], SCORE_STRIDE);
}

fn store_scores(i: u32, fragment: Accumulator) {
    coopStoreT(fragment, &scores[i], SCORE_STRIDE);
}
