//! Queries as scans read them: packed for the vectors of the processor.
#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::aligned::AlignedVec;
use crate::cpu::simd::level::{Level, vectorized};
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work};
use crate::cpu::transpose::{PART, into_panel};
use crate::exact::scores::{MIN_NORM, norm};
use crate::rule::Similarity;
use crate::store::stride;

/// A state that is compared with keys.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Its position in the batch, which selects its row of a mask.
    pub position: usize,
    /// The inverse temperature of its scores.
    pub beta: f64,
    /// The state, padded to the stride of a key.
    pub exact: Vec<f64>,
    pub norm: f64,
}

impl Query {
    /// A state of `exact` coordinates, padded to the stride of a key.
    pub fn new(position: usize, beta: f64, exact: Vec<f64>) -> Self {
        let norm = vectorized(|| norm(&exact));
        Self { position, beta, exact, norm }
    }

    /// A query as it was given.
    pub fn of_row(position: usize, beta: f64, row: &[f32]) -> Self {
        let mut exact = Vec::with_capacity(stride(row.len()));
        exact.extend(row.iter().map(|x| f64::from(*x)));
        exact.resize(stride(row.len()), 0.0);
        Self::new(position, beta, exact)
    }
}

/// What the lanes of a vector are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Queries: every element of a key is read once for all queries of the panel.
    Panel,
    /// Coordinates of a key, for few queries, one after the other.
    Rows,
}

/// A block of packed queries.
#[derive(Debug)]
pub(super) struct Packed {
    pub form: Form,
    pub queries: usize,
    /// Floats of a row: the queries of a panel in whole vectors, or the coordinates in vectors of the widest kind.
    pub width: usize,
    /// Rows are coordinates in a panel, queries otherwise.
    pub data: AlignedVec<f32>,
    /// The inverse temperature of each query, in whole vectors.
    pub betas: Vec<f32>,
}

impl Packed {
    /// Packs states for vectors of `lanes`. Cosine divides them by their norms, so that products underflow only where
    /// keys do.
    pub fn new(form: Form, similarity: Similarity, lanes: usize, queries: &[&Query]) -> Self {
        let depth = queries[0].exact.len();
        let (width, rows) = match form {
            Form::Panel => (queries.len().next_multiple_of(lanes), depth),
            Form::Rows => (depth.next_multiple_of(MAX_LANES), queries.len()),
        };
        let mut data = AlignedVec::zeros(width * rows);
        let scale = |query: &Query| if similarity == Similarity::Cosine { 1.0 / query.norm.max(MIN_NORM) } else { 1.0 };
        let write = |row: &mut [f32], query: &Query| {
            let scale = scale(query);
            vectorized(|| row.iter_mut().zip(&query.exact).for_each(|(to, x)| *to = (x * scale) as f32));
        };
        match form {
            Form::Panel => {
                let mut rows = AlignedVec::zeros(depth * queries.len());
                rows.chunks_exact_mut(depth).zip(queries).for_each(|(row, query)| write(row, query));
                Level::best().run(Pack {
                    // Rows are divided by their norms already.
                    similarity: Similarity::Dot,
                    rows: &rows,
                    dim: depth,
                    norms: &[],
                    width,
                    data: &mut data,
                });
            }
            Form::Rows => data.chunks_exact_mut(width).zip(queries).for_each(|(row, query)| write(row, query)),
        }
        let mut betas: Vec<f32> = queries.iter().map(|query| query.beta as f32).collect();
        betas.resize(queries.len().next_multiple_of(lanes), 0.0);
        Self { form, queries: queries.len(), width, data, betas }
    }

    /// The panel of [`Packed::new`], bit-exact, directly from `rows` of `dim` floats with their norms.
    pub fn panel((similarity, beta): (Similarity, f32), lanes: usize, rows: &[f32], dim: usize, norms: &[f64]) -> Self {
        let (width, depth) = (norms.len().next_multiple_of(lanes), stride(dim));
        let mut data = AlignedVec::zeros(width * depth);
        Level::best().run(Pack { similarity, rows, dim, norms, width, data: &mut data });
        Self { form: Form::Panel, queries: norms.len(), width, data, betas: vec![beta; width] }
    }

    /// The rows of one [`PART`] of the coordinates of a panel.
    pub fn coordinates(&self, part: usize) -> &[f32] {
        let from = PART * self.width * part;
        &self.data[from..self.data.len().min(from + PART * self.width)]
    }
}

/// Packs rows of `dim` into a panel; cosine divides them by their norms.
struct Pack<'a> {
    similarity: Similarity,
    rows: &'a [f32],
    dim: usize,
    norms: &'a [f64],
    width: usize,
    data: &'a mut [f32],
}

impl Work for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { similarity, rows, dim, norms, width, data } = self;
        for (part, to) in data.chunks_mut(PART * width).enumerate() {
            into_panel(rows, dim, part, to, width);
        }
        if similarity == Similarity::Cosine {
            let scales: Vec<f64> = norms.iter().map(|norm| 1.0 / norm.max(MIN_NORM)).collect();
            for row in data.chunks_exact_mut(width) {
                for (x, scale) in row.iter_mut().zip(&scales) {
                    *x = (f64::from(*x) * scale) as f32;
                }
            }
        }
    }
}
