// The parameters of the fused kernels: `src/gpu/kernels/fused/common.rs`.

struct Params {
    base: vec4<u32>,
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    end_row: u32,
    rows_per_split: u32,
    splits: u32,
    key_vectors: u32,
    value_vectors: u32,
    key_columns: u32,
    columns: u32,
    beta: f32,
    records_first: u32,
    pieces: u32,
    threshold: f32,
    ends: u32,
    piece_below: u32,
    piece_above: u32,
    padding_0: u32,
    padding_1: u32,
}

// The place of the statistics of a split. Where a query has one split, which is its running state (`params.ends`), that
// is the second of the query's two slots, which `merge` would write.
fn stats_place(partial: u32) -> u32 {
    return partial * (1u + params.ends) + params.ends;
}

// The pieces of a split that may have rows of `reach`: the first, and the one after the last. They are exact if the
// rows of a piece are a power of two in number. Where pieces begin does not depend on `reach`, because the bits of a
// query must not depend on the other queries of its workgroup.
fn pieces_of(reach: vec2<u32>) -> vec2<u32> {
    let within = max(reach, vec2<u32>(params.first_row)) - vec2<u32>(params.first_row);
    // Fewer than 32 both; metal leaves shifts by more undefined.
    let below = params.piece_below % 32u;
    let end = (within.y + (1u << below) - 1u) >> below;
    return min(vec2<u32>(within.x >> (params.piece_above % 32u), end), vec2<u32>(params.pieces));
}
