// Which rows a tile of SIDE * QUERIES queries needs. For kernels that bind `keep`, set KEEP, use `lib/mask`, `lib/vote`
// and `lib/listed`, and have `params.keep_first`, `keep_stride`, `window_first` and `first_row`.

// Whether any query from `first_slot` on may use any of the rows from `first` to before `end`, counted from
// `params.first_row`. All invocations must call it together.
fn tile_uses(index: u32, first_slot: u32, first: u32, end: u32) -> bool {
    if (KEEP == 0u) {
        return true;
    }
    // Where all queries share a row of the mask, the first looks for all.
    let slot = first_slot + index;
    var looks = index < SIDE * QUERIES && slot < listed();
    if (params.keep_stride == 0u) {
        looks = index == 0u;
    }
    var used = false;
    if (looks) {
        let begin = params.keep_first + query_at(slot) * params.keep_stride;
        let position = params.window_first + params.first_row;
        used = kept_any(begin, position + first, position + end - 1u);
    }
    return any_says(index, used);
}
