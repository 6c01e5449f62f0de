//! The vectors of a network, and products of them.

use crate::factor::Factor;

/// A vector of a [`Network`](super::Network).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorId(pub(super) usize);

/// A product of vectors, which an update recalls from. One vector is a product, and so is an array of vectors: of reals,
/// coordinate by coordinate.
///
/// ```
/// use attractor::network::{Network, Product};
/// let mut network = Network::new(4);
/// let (scene, shape, colour) = (network.vector(), network.vector(), network.vector());
/// let real: Product = [scene, colour].into();
/// let unbound = Product::complex(scene).times_conjugate(shape).times_conjugate(colour);
/// assert_ne!(real, unbound);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub(super) factors: Vec<Factor>,
    pub(super) complex: bool,
}

impl Product {
    /// `vector` alone, of reals.
    pub fn real(vector: VectorId) -> Self {
        Self { factors: vec![Factor { vector: vector.0, conjugated: false }], complex: false }
    }

    /// `vector` alone, of complex numbers: neighbouring coordinates are `(re, im)`, as
    /// [`Activation::Phasor`](crate::rule::Activation::Phasor) has them, and products are those of complex numbers.
    pub fn complex(vector: VectorId) -> Self {
        Self { complex: true, ..Self::real(vector) }
    }

    /// Times `vector`.
    pub fn times(mut self, vector: VectorId) -> Self {
        self.factors.push(Factor { vector: vector.0, conjugated: false });
        self
    }

    /// Times the conjugate of `vector`, which undoes a product with a phasor. The conjugate of a real is itself.
    pub fn times_conjugate(mut self, vector: VectorId) -> Self {
        self.factors.push(Factor { vector: vector.0, conjugated: self.complex });
        self
    }
}

impl From<VectorId> for Product {
    fn from(vector: VectorId) -> Self {
        Self::real(vector)
    }
}

impl From<&[VectorId]> for Product {
    fn from(vectors: &[VectorId]) -> Self {
        let factors = vectors.iter().map(|vector| Factor { vector: vector.0, conjugated: false });
        Self { factors: factors.collect(), complex: false }
    }
}

impl From<Vec<VectorId>> for Product {
    fn from(vectors: Vec<VectorId>) -> Self {
        vectors.as_slice().into()
    }
}

impl<const N: usize> From<[VectorId; N]> for Product {
    fn from(vectors: [VectorId; N]) -> Self {
        vectors.as_slice().into()
    }
}
