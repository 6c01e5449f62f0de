// What a workgroup that multiplies fragments shares, number by number, as Metal loads and stores fragments. Places are
// in vectors of four. For `fused_matrix`.

var<workgroup> tile: array<f16, 4u * PATTERNS * TILE_STRIDE>;
var<workgroup> weights: array<f16, 4u * PARTS * PART_STRIDE>;
var<workgroup> scores: array<f32, 4u * GROUP * SCORE_STRIDE>;

fn put_tile(i: u32, entry: vec4<f16>) {
    tile[4u * i] = entry.x;
    tile[4u * i + 1u] = entry.y;
    tile[4u * i + 2u] = entry.z;
    tile[4u * i + 3u] = entry.w;
}

fn put_weights(i: u32, entry: vec4<f16>) {
    weights[4u * i] = entry.x;
    weights[4u * i + 1u] = entry.y;
    weights[4u * i + 2u] = entry.z;
    weights[4u * i + 3u] = entry.w;
}

fn put_scores(i: u32, entry: vec4<f32>) {
    scores[4u * i] = entry.x;
    scores[4u * i + 1u] = entry.y;
    scores[4u * i + 2u] = entry.z;
    scores[4u * i + 3u] = entry.w;
}

fn scores_at(i: u32) -> vec4<f32> {
    let at = 4u * i;
    return vec4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
}

// Patterns across, to be compared with.
fn key_fragment_at(i: u32) -> Right {
    return coopLoad<Right>(&tile[4u * i], 4u * TILE_STRIDE);
}

// Patterns down, to be summed.
fn payload_fragment_at(i: u32) -> Right {
    return coopLoadT<Right>(&tile[4u * i], 4u * TILE_STRIDE);
}

fn weights_at(i: u32) -> Left {
    return coopLoadT<Left>(&weights[4u * i], 4u * WEIGHT_STRIDE);
}

fn load_scores(i: u32) -> Accumulator {
    return coopLoadT<Accumulator>(&scores[4u * i], 4u * SCORE_STRIDE);
}

fn store_scores(i: u32, fragment: Accumulator) {
    coopStoreT(fragment, &scores[4u * i], 4u * SCORE_STRIDE);
}
