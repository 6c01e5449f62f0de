// Which rows a few queries may use. For kernels that use `lib/mask`, `lib/own` and `lib/listed`, set KEEP and QUERIES,
// and have `params.keep_first`, `keep_stride` and `window_first`.

// Whether any of the QUERIES queries from `first_slot` may use any of the rows from `first` to `last`.
fn any_kept(first_slot: u32, first: u32, last: u32) -> bool {
    var any = KEEP + RECORDS == 0u;
    for (var q = 0u; q < QUERIES * max(KEEP, RECORDS); q += 1u) {
        let query = query_at(min(first_slot + q, listed() - 1u));
        var used = true;
        if (RECORDS == 1u) {
            used = sees_any(query, params.window_first + first, params.window_first + last);
        }
        if (KEEP == 1u) {
            let begin = params.keep_first + query * params.keep_stride;
            used = used && kept_any(begin, params.window_first + first, params.window_first + last);
        }
        any = used || any;
    }
    return any;
}
