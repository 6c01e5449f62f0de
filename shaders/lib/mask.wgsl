// Masks: a bit for each pattern, in words from `begin` on for a query. For kernels that bind `keep`.

// Whether a query may use the pattern at `position`.
fn kept(begin: u32, position: u32) -> bool {
    return ((keep[begin + position / 32u] >> (position % 32u)) & 1u) == 1u;
}

// Whether it may use each of the four patterns from `first`; those beyond `last` do not matter.
fn kept_four(begin: u32, first: u32, last: u32) -> vec4<bool> {
    let low = keep[begin + first / 32u];
    let high = keep[begin + last / 32u];
    let bits = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
    let words = select(vec4<u32>(high), vec4<u32>(low), bits / vec4<u32>(32u) == vec4<u32>(first / 32u));
    return ((words >> (bits % vec4<u32>(32u))) & vec4<u32>(1u)) == vec4<u32>(1u);
}

// Whether it may use any of the patterns from `first` to `last`.
fn kept_any(begin: u32, first: u32, last: u32) -> bool {
    var bits = 0u;
    for (var word = first / 32u; word < last / 32u + 1u; word += 1u) {
        var kept = keep[begin + word];
        if (word == first / 32u) {
            kept &= 0xffffffffu << (first % 32u);
        }
        if (word == last / 32u) {
            kept &= 0xffffffffu >> ((31u - last) % 32u);
        }
        bits |= kept;
    }
    return bits != 0u;
}
