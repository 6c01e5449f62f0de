// Rows stored as signed bytes, four in a word, in units of the row's scale (`terms`).

alias Stored = u32;

const QUANTIZED: bool = true;

fn unpack_stored(stored: Stored) -> vec4<f32> {
    let bytes = vec4<i32>(bitcast<i32>(stored)) << vec4<u32>(24u, 16u, 8u, 0u);
    return vec4<f32>(bytes >> vec4<u32>(24u));
}
