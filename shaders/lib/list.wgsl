// Lists of candidates: an entry is the index of a pattern and the bits of its score. For kernels that bind `list` and
// have `params.k`.

fn score_at(entry: u32) -> f32 {
    return bitcast<f32>(list[entry].y);
}

var<workgroup> list_keys: array<u32, LANES>;
var<workgroup> list_kth: u32;

// The k-th largest key among `count` entries from `first`; 0 where there are fewer than k. Of few entries by their
// ranks, which takes few barriers, of others bit by bit. `count` is uniform.
fn kth_key(local: u32, first: u32, count: u32) -> u32 {
    if (count < params.k) {
        return 0u;
    }
    if (count <= LANES) {
        var key = 0u;
        if (local < count) {
            key = key_of(score_at(first + local));
        }
        workgroupBarrier();
        list_keys[local] = key;
        workgroupBarrier();
        var rank = 0u;
        for (var i = 0u; i < LANES; i += 1u) {
            let other = list_keys[i];
            rank += select(0u, 1u, i < count && (other > key || (other == key && i < local)));
        }
        if (local < count && rank + 1u == params.k) {
            list_kth = key;
        }
        return workgroupUniformLoad(&list_kth);
    }
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
