// The order of a list of the largest scores: by falling score, ties by rising index. For kernels that bind `list`.

// The position of a place without a pattern.
const NO_PATTERN: u32 = 0xffffffffu;

fn listed_score(entry: u32) -> f32 {
    return bitcast<f32>(list[entry].y);
}

// How many of the `count` entries from `first` come before entry `i` of them.
fn rank_of(first: u32, count: u32, i: u32) -> u32 {
    let key = key_of(listed_score(first + i));
    var rank = 0u;
    for (var j = 0u; j < count; j += 1u) {
        let other = key_of(listed_score(first + j));
        rank += select(0u, 1u, other > key || (other == key && j < i));
    }
    return rank;
}
