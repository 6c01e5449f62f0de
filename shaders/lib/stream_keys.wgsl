// The keys of a window and their scores, one pattern at a time. For kernels that bind `keys`, `terms` and `keep`, set
// TERMS, KEEP and QUERIES, use `lib/own` and `lib/own_beta`, and have `params.key_vectors`, `keep_first`, `keep_stride` and
// `window_first`.

// Whether biases count.
const BIAS: u32 = 1u;

// Vector `vector` of the key in row `row` of the window, scaled where it is quantized.
fn key_at(row: u32, vector: u32) -> vec4<f32> {
    let key = unpack_stored(keys[row * params.key_vectors + vector]);
    if (QUANTIZED) {
        return key * terms[row].z;
    }
    return key;
}

// The score of a row of the window for a query: `total` is the sum of what `compare` gives of their vectors.
fn score(query: u32, row: u32, total: f32) -> f32 {
    var similarity = similarity_of(total);
    var bias = 0.0;
    if (TERMS == 1u) {
        similarity *= terms[row].x;
        bias = select(0.0, terms[row].y, BIAS == 1u);
    }
    let z = bounded_score(beta_of(query) * similarity + bias);
    var counted = true;
    if (RECORDS == 1u) {
        counted = sees(query, params.window_first + row);
    }
    if (KEEP == 1u) {
        let begin = params.keep_first + query * params.keep_stride;
        counted = counted && kept(begin, params.window_first + row);
    }
    return select(NO_SCORE, z, counted);
}
