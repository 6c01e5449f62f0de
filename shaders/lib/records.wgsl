// What kernels hand on about a query, in structs that the host knows by their sizes.

// A list of candidates: how many there are; as keys of scores, the largest that found no room and the smallest of a
// full top-k list; and the largest score.
struct Head {
    count: u32,
    dropped: u32,
    floor: u32,
    maximum: f32,
}

// How a score becomes a weight: the largest score, or for steep entmax (alpha > 2) the pivot of `solve_threshold`; for
// entmax s; the sum of unnormalised weights; for top-k the key of the smallest score that has weight, and how many that
// equal it have; for entmax the logarithm of the weight of a score that equals the largest, or the pivot
// (`lib/entmax`).
struct Record {
    maximum: f32,
    s: f32,
    sum: f32,
    floor: u32,
    ties: u32,
    log_weight: f32,
    padding_0: u32,
    padding_1: u32,
}
