//! use lib/stored_i8
//! use lib/workgroup
//! use lib/listed
// What each query of a list compares with keys in 16 bits: a coordinate is `largest / 127 (high + low / 254)` of two
// signed bytes, the bytes of four coordinates in a word each. With bounds of how far that is from what it stands for,
// and of norms. One workgroup handles one query.

const LANES: u32 = 64u;
// Units of a low byte in one of a high byte.
const PART: u32 = 254u;

struct Params {
    base: vec4<u32>,
    vectors: u32,
    rounding: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
@group(0) @binding(2) var<storage, read> compared: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> levels: array<vec2<u32>>;
// A coordinate's unit; the norm of the levels; at least the norm of what is compared, and how far levels are from it.
@group(0) @binding(4) var<storage, read_write> numbers: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) within: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = within + params.base.xyz;
    if (workgroup.x >= listed()) {
        return;
    }
    let query = query_at(workgroup.x);
    let row = query * params.vectors;
    var largest = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = abs(compared[row + v]);
        largest = max(largest, max(max(x.x, x.y), max(x.z, x.w)));
    }
    largest = max(maximum_of(local, largest), 1.0e-30);
    let part = f32(PART);
    let most = 127.0 * part;
    // In units of the largest magnitude, so that no square overflows or vanishes.
    var whole = 0.0;
    var rounded = 0.0;
    var off = 0.0;
    for (var v = local; v < params.vectors; v += LANES) {
        let x = compared[row + v] / largest;
        let high = pack4x8snorm(x);
        let rest = x - unpack_stored(high) / 127.0;
        let low = pack4x8snorm(part * rest);
        let level = part * unpack_stored(high) + unpack_stored(low);
        let left = rest - unpack_stored(low) / most;
        levels[row + v] = vec2<u32>(high, low);
        whole += dot(x, x);
        rounded += dot(level, level);
        off += dot(left, left);
    }
    whole = sqrt(sum_of(local, whole));
    rounded = sqrt(sum_of(local, rounded));
    off = sqrt(sum_of(local, off));
    if (local == 0u) {
        let up = 1.0 + params.rounding;
        let unit = largest / most;
        let away = off + params.rounding * whole;
        numbers[query] = vec4<f32>(unit, unit * rounded, largest * whole * up, largest * away * up);
    }
}
