// The sums of what `compare` gives of a few queries and a tile of rows, each row fetched once for all of them. For
// kernels that use `lib/stream_keys` and `lib/listed`, bind `compared`, and set WORKGROUP, QUERIES, ROWS and LANES:
// LANES invocations share the sum of a row and a query.

var<workgroup> parts: array<f32, QUERIES * ROWS * LANES>;

// Adds up the parts of all invocations for the queries from `first_slot` and the `rows` rows from `first_row`, of
// which the first `read` are read. A barrier must follow.
fn add_parts(local: u32, first_slot: u32, slots: u32, first_row: u32, rows: u32, read: u32) {
    let lane = local % LANES;
    var query: array<u32, QUERIES>;
    for (var q = 0u; q < QUERIES; q += 1u) {
        query[q] = query_at(min(first_slot + q, slots - 1u));
    }
    for (var t = local / LANES; t < read; t += WORKGROUP / LANES) {
        var part: array<f32, QUERIES>;
        for (var q = 0u; q < QUERIES; q += 1u) {
            part[q] = 0.0;
        }
        if (t < rows) {
            for (var c = lane; c < params.key_vectors; c += LANES) {
                let key = key_at(first_row + t, c);
                for (var q = 0u; q < QUERIES; q += 1u) {
                    part[q] += compare(compared[query[q] * params.key_vectors + c], key);
                }
            }
        }
        for (var q = 0u; q < QUERIES; q += 1u) {
            parts[(q * ROWS + t) * LANES + lane] = part[q];
        }
    }
}

// The sum of the parts of row `i % ROWS` and query `i / ROWS` of the tile.
fn total_of(i: u32) -> f32 {
    var total = 0.0;
    for (var l = 0u; l < LANES; l += 1u) {
        total += parts[i * LANES + l];
    }
    return total;
}
