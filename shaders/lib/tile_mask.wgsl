// Which rows a tile of SIDE * QUERIES queries needs. For kernels that bind `keep`, set KEEP, use `lib/mask`, `lib/vote`
// `lib/own` and `lib/listed`, set RECORDS, and have `params.keep_first`, `keep_stride`, `window_first` and `first_row`.

// Whether any query from `first_slot` on may use any of the rows from `first` to before `end`, counted from
// `params.first_row`. All invocations must call it together.
fn tile_uses(index: u32, first_slot: u32, first: u32, end: u32) -> bool {
    if (KEEP + RECORDS == 0u) {
        return true;
    }
    // Where all queries share a row of the mask, the first looks for all.
    let slot = first_slot + index;
    var looks = index < SIDE * QUERIES && slot < listed();
    if (RECORDS == 0u && params.keep_stride == 0u) {
        looks = index == 0u;
    }
    var used = false;
    if (looks) {
        let query = query_at(slot);
        let position = params.window_first + params.first_row;
        used = true;
        if (RECORDS == 1u) {
            used = sees_any(query, position + first, position + end - 1u);
        }
        if (KEEP == 1u) {
            let begin = params.keep_first + query * params.keep_stride;
            used = used && kept_any(begin, position + first, position + end - 1u);
        }
    }
    return any_says(index, used);
}
