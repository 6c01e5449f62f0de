// Rows stored as halves, two in a word; needs no device feature.

alias Stored = vec2<u32>;

const QUANTIZED: bool = false;

fn unpack_stored(stored: Stored) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(stored.x), unpack2x16float(stored.y));
}
