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
    padding_0: u32,
}
