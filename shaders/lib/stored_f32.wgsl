// Rows stored as f32.

alias Stored = vec4<f32>;

const QUANTIZED: bool = false;

fn unpack_stored(stored: Stored) -> vec4<f32> {
    return stored;
}
