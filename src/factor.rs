//! What a network recalls from: products of its vectors.

/// One vector of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The number of the vector.
    pub vector: usize,
    /// Whether it is conjugated; only in complex products.
    pub conjugated: bool,
}
