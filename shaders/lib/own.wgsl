// What each query has of its own: a beta, a pattern that it leaves out (at no position if none), and the positions that
// it sees, none from the last to before the first. Four words a query, in front of the masks. For kernels that bind
// `keep` and have `params.records_first`.

// Whether a query sees the pattern at `position`.
fn sees(query: u32, position: u32) -> bool {
    let record = params.records_first + 4u * query;
    return position != keep[record + 1u] && position >= keep[record + 2u] && position < keep[record + 3u];
}

// Whether it sees each of the four patterns from `first`.
fn sees_four(query: u32, first: u32) -> vec4<bool> {
    let record = params.records_first + 4u * query;
    let positions = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
    let within = (positions >= vec4<u32>(keep[record + 2u])) & (positions < vec4<u32>(keep[record + 3u]));
    return within & (positions != vec4<u32>(keep[record + 1u]));
}

// The positions that it may see: from the first to before the last.
fn seen_by(query: u32) -> vec2<u32> {
    let record = params.records_first + 4u * query;
    return vec2<u32>(keep[record + 2u], keep[record + 3u]);
}

// Whether any of the positions from `first` to `last` are among those that it may see.
fn sees_any(query: u32, first: u32, last: u32) -> bool {
    let seen = seen_by(query);
    return last >= seen.x && first < seen.y;
}
