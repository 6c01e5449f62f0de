// Lists of candidates: an entry is the index of a pattern and the bits of its score. For kernels that bind `list` and
// have `params.k`.

fn score_at(entry: u32) -> f32 {
    return bitcast<f32>(list[entry].y);
}

// The k-th largest key among `count` entries from `first`, bit by bit; 0 where there are fewer than k.
fn kth_key(local: u32, first: u32, count: u32) -> u32 {
    var found = 0u;
    for (var bit = 0u; bit < 32u; bit += 1u) {
        let tried = found | (0x80000000u >> bit);
        var mine = 0u;
        for (var i = local; i < count; i += LANES) {
            if (key_of(score_at(first + i)) >= tried) {
                mine += 1u;
            }
        }
        if (count_of(local, mine) >= params.k) {
            found = tried;
        }
    }
    return found;
}

// How many of the k places are left for entries whose key equals the floor.
fn ties_for(local: u32, first: u32, count: u32, floor: u32) -> u32 {
    var above = 0u;
    for (var i = local; i < count; i += LANES) {
        if (key_of(score_at(first + i)) > floor) {
            above += 1u;
        }
    }
    return params.k - min(params.k, count_of(local, above));
}
