// Rows that a kernel sums, keys or values as VALUES says. For kernels that bind `source` and `terms` and have
// `params.source_vectors`.

// Vector `vector` of row `row`, scaled where it is quantized: keys and values have scales of their own.
fn source_at(row: u32, vector: u32) -> vec4<f32> {
    let stored = unpack_stored(source[row * params.source_vectors + vector]);
    if (QUANTIZED) {
        let term = terms[row];
        if (VALUES == 1u) {
            return stored * term.w;
        }
        return stored * term.z;
    }
    return stored;
}
