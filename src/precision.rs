//! How keys and values are stored.

/// How keys and values are stored. Sums are `f32` whatever the storage.
///
/// What rounding costs depends on the patterns. Measured on 12,000 sentence embeddings of 384 dimensions and norm 1
/// (`examples/packages.rs`), the nearest by cosine is the one that exact search finds for 1,000 of 1,000 queries in
/// `F32` and `F16`, and for 998 in `I8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As given.
    #[default]
    F32,
    /// Rounded to the nearest half: 11 bits, magnitudes up to 65,504 and down to 6e-8. A row with a magnitude that
    /// rounds beyond, from 65,520 on, is refused unless [`MemoryOptions::saturate`](crate::MemoryOptions::saturate)
    /// asks for the largest half instead. Magnitudes up to 3e-8 become zero.
    F16,
    /// Rounded to 255 levels between plus and minus the row's largest magnitude, with one `f32` scale per row. Every
    /// finite row is in range; one whose largest magnitude is below 1.5e-36 becomes zeros, for its scale would be
    /// subnormal.
    I8,
}
