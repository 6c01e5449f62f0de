// Masks of a few queries. For kernels that use `lib/mask` and `lib/listed`, set KEEP and QUERIES, and have
// `params.keep_first`, `keep_stride` and `window_first`.

// Whether any of the QUERIES queries from `first_slot` may use any of the rows from `first` to `last`.
fn any_kept(first_slot: u32, first: u32, last: u32) -> bool {
    var any = KEEP == 0u;
    for (var q = 0u; q < QUERIES * KEEP; q += 1u) {
        let query = query_at(min(first_slot + q, listed() - 1u));
        let begin = params.keep_first + query * params.keep_stride;
        any = kept_any(begin, params.window_first + first, params.window_first + last) || any;
    }
    return any;
}
