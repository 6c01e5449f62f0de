// Rows stored as signed bytes, four in a word, in units of the row's scale (`terms`).

alias Stored = u32;

const QUANTIZED: bool = true;

fn unpack_stored(stored: Stored) -> vec4<f32> {
    // Unsigned: to shift a negative number to the left is undefined in the languages of some drivers.
    let bytes = bitcast<vec4<i32>>(vec4<u32>(stored) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(bytes >> vec4<u32>(24u));
}
