//! The rules of systems that have a name, with the defaults of their papers.

use super::{Activation, Next, Rule, Separation, Similarity, Update, Zero};

/// Signs, as Hopfield's: a coordinate at 0 stays.
const SIGNS: Update = Update::NONE.activation(Activation::Sign { zero: Zero::Keep });

impl Rule {
    /// The classical Hopfield network (Hopfield 1982): bipolar patterns, `x'_c = sgn(sum_i <k_i, x> k_ic - N x_c)`, all
    /// coordinates at once. It holds about 0.138 `d` random patterns.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 8, Rule::classical_hopfield())?;
    /// let pattern = [1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0];
    /// memory.add(&pattern)?;
    /// let mut noisy = pattern;
    /// noisy[0] = -1.0;
    /// assert_eq!(memory.retrieve_blocking(&noisy, &RetrieveOptions::converge(10, 1e-6))?.state, pattern);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub const fn classical_hopfield() -> Self {
        Self::new(Similarity::Dot, Separation::Linear, 1.0).then(SIGNS.remove_self())
    }

    /// [`Rule::classical_hopfield`] at a temperature: Glauber dynamics (Amit, Gutfreund and Sompolinsky 1985), with
    /// couplings `sum_i k_ic k_ie / d`. Signs are drawn from a hash of `seed`.
    pub const fn stochastic_hopfield(dim: usize, temperature: f32, seed: u32) -> Self {
        Self::classical_hopfield().then(SIGNS.remove_self().gain(1.0 / dim as f32).temperature(temperature, seed))
    }

    /// The network of Hebb's couplings with the self-couplings left in: `x'_c = sgn(sum_i <k_i, x> k_ic)`, for patterns
    /// with coordinates of 0 as well, as those of multitasking networks (Agliari et al. 2012).
    pub const fn hebbian() -> Self {
        Self::new(Similarity::Dot, Separation::Linear, 1.0).then(SIGNS)
    }

    /// Dense associative memory with the energy `-sum_i <k_i, x>^n` (Krotov and Hopfield 2016), `n` from 2 to 64: about
    /// `d^(n-1)` random bipolar patterns. The patterns may be examples of archetypes that are not stored themselves
    /// (unsupervised dense memory).
    pub const fn dense(n: u32) -> Self {
        Self::new(Similarity::Dot, Separation::Power { n: n.wrapping_sub(1) }, 1.0).then(SIGNS.remove_self())
    }

    /// [`Rule::dense`] with rectified polynomials, `-sum_i max(<k_i, x>, 0)^n`, the other choice of Krotov and Hopfield.
    pub const fn dense_rectified(n: u32) -> Self {
        Self::new(Similarity::Dot, Separation::Rectified { n: n.wrapping_sub(1) }, 1.0).then(SIGNS.remove_self())
    }

    /// The exponential network (Demircigil et al. 2017): bipolar patterns, the energy `-sum_i exp <k_i, x>`, capacity
    /// exponential in `d`.
    pub const fn exponential() -> Self {
        Self::softmax(1.0).then(SIGNS.remove_self())
    }

    /// Sparse distributed memory (Kanerva 1988): the sum of the values whose keys have a dot product of at least
    /// `threshold` with the query. Of bipolar rows, `threshold` is `d - 2 radius`, with the radius a Hamming distance.
    pub const fn sparse_distributed(threshold: f32) -> Self {
        Self::new(Similarity::Dot, Separation::Step { threshold }, 1.0)
    }

    /// One factor of a resonator network (Frady et al. 2020): the codebook is the memory, `x' = sgn(K^T K u)` for the
    /// query `u`, with 0 as 1.
    pub const fn resonator() -> Self {
        let signs = Update::NONE.activation(Activation::Sign { zero: Zero::Plus });
        Self::new(Similarity::Dot, Separation::Linear, 1.0).then(signs)
    }

    /// One factor of a resonator network with attention in place of outer products (Yeung, Poduval and Imani 2024),
    /// over phasors ([`Activation::Phasor`]): `x' = phasor(sum_i p_i k_i)` with `p = softmax(beta K u)`. A row of `d`
    /// coordinates, which are `d/2` phasors, has a score of `beta d/2` if it equals the query. For the published shares
    /// states have to stay averages: [`Rule::softmax`], from the mean of the codebook (`examples/resonator.rs`).
    pub const fn attention_resonator(beta: f32) -> Self {
        Self::softmax(beta).then(Update::NONE.activation(Activation::Phasor))
    }

    /// One hop of an end-to-end memory network (Sukhbaatar et al. 2015): `u' = u + sum_i p_i c_i` with `p = softmax(A
    /// u)`. Keys are the input memories, values the output memories, as wide as keys.
    pub const fn memory_network() -> Self {
        Self::softmax(1.0).then(Update::NONE.carry(1.0).next(Next::Values))
    }

    /// The retrieval of CLOOB (Fürst et al. 2022): `normalize(softmax(beta K x) K)`. Its authors trained with a `beta`
    /// of 8 to 14.3.
    pub const fn cloob(beta: f32) -> Self {
        Self::softmax(beta).then(Update::NONE.activation(Activation::Normalize))
    }

    /// One direction of a bidirectional associative memory (Kosko 1988): `x' = sgn(sum_i <k_i, x> v_i)`.
    pub const fn bidirectional() -> Self {
        Self::new(Similarity::Dot, Separation::Linear, 1.0).then(SIGNS.next(Next::Values))
    }

    /// A matrix as a memory: keys are the rows of `W`, values the unit vectors, and `y = W x`. Couplings that are not
    /// outer products, clipped ones, pseudo-inverses. The update ends as `update` says.
    pub const fn matrix(update: Update) -> Self {
        Self::new(Similarity::Dot, Separation::Linear, 1.0).then(update.next(Next::Values))
    }
}
