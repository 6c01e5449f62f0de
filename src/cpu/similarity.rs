//! Scores of states against keys: approximate ones in `f32` for scans over everything, with a bound on their error, and exact
//! ones in `f64` for the few patterns that matter.
#![allow(clippy::inline_always, reason = "see `simd`")]

use super::aligned::AlignedVec;
use super::product::{Absolute, Matrix, Prefetch, Squared, Term, Times, product};
use super::transpose::{PART, into_panel};
use crate::cpu::simd::level::{Level, vectorized};
use crate::cpu::simd::vector::{MAX_LANES, MAX_VECTORS, Simd, Work, by_vectors};
use crate::rule::Similarity;
use crate::store::stride;

/// Partial sums kept side by side, so that the compiler can use vector registers without reordering any sum.
const LANES: usize = 8;
/// Norms are at least this.
const SMALLEST_NORM: f64 = 1e-12;

/// `sum_c term(x_c, k_c)` in `f64`, in [`LANES`] interleaved partial sums and then pairwise.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the term must be inlined into the lanes to become vector code")]
fn sum64(x: &[f64], k: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (k_blocks, k_rest) = k.as_chunks::<LANES>();
    for (x, k) in x_blocks.iter().zip(k_blocks) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], f64::from(k[lane]));
        }
    }
    for (lane, (x, k)) in x_rest.iter().zip(k_rest).enumerate() {
        lanes[lane] += term(*x, f64::from(*k));
    }
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// A state that is compared with keys.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Its position in the batch, by which masks know it.
    pub position: usize,
    /// The state, padded to the stride of a key.
    pub exact: Vec<f64>,
    pub norm: f64,
}

impl Query {
    pub fn new(position: usize, exact: Vec<f64>) -> Self {
        let norm = vectorized(|| norm(&exact));
        Self { position, exact, norm }
    }
}

/// The norm of a row, in [`LANES`] interleaved partial sums; zeros after it change nothing.
#[inline(always)]
pub(super) fn norm<T: Copy + Into<f64>>(row: &[T]) -> f64 {
    let mut squares = [0.0; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    let add = |squares: &mut [f64; LANES], part: &[T]| {
        for (x, sum) in part.iter().zip(squares) {
            let x: f64 = (*x).into();
            *sum += x * x;
        }
    };
    for part in whole {
        add(&mut squares, part);
    }
    add(&mut squares, rest);
    squares.iter().sum::<f64>().sqrt()
}

/// `similarity(x, k)` in `f64`, for a key of norm `norm`. Euclidean is computed from differences: expanding the square
/// would cancel where distances are small beside the norms.
#[inline(always)]
pub(super) fn exact(similarity: Similarity, x: &Query, key: &[f32], norm: f64) -> f64 {
    let x_row = &x.exact;
    match similarity {
        Similarity::Dot => sum64(x_row, key, |x, k| x * k),
        Similarity::Cosine => sum64(x_row, key, |x, k| x * k) / (x.norm.max(SMALLEST_NORM) * norm.max(SMALLEST_NORM)),
        Similarity::Euclidean => -0.5 * sum64(x_row, key, |x, k| (x - k) * (x - k)),
        Similarity::Manhattan => -sum64(x_row, key, |x, k| (x - k).abs()),
    }
}

/// [`exact`] for each of some keys. Every level gives the same bits.
pub(super) struct Exact<'a> {
    pub similarity: Similarity,
    pub query: &'a Query,
    pub keys: &'a [f32],
    pub norms: &'a [f64],
    pub scores: &'a mut [f64],
}

impl Work for Exact<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let rows = self.keys.chunks_exact(self.keys.len() / self.norms.len());
        for ((score, key), norm) in self.scores.iter_mut().zip(rows).zip(self.norms) {
            *score = exact(self.similarity, self.query, key, *norm);
        }
    }
}

/// Whether lanes of a vector belong to queries or to coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Many queries, side by side in the lanes: every element of a key is read once for all of them.
    Panel,
    /// Few queries, one after the other: the lanes are coordinates of a key.
    Rows,
}

/// Roundings of one chain of a [`Form::Panel`]'s sum, which is cut into chains of this length.
const CHAIN: usize = 128;

/// Queries as the scan reads them.
#[derive(Debug)]
pub(super) struct Packed {
    pub form: Form,
    pub queries: usize,
    /// Floats of a row: for a panel the queries, in whole vectors; else the coordinates, in the longest of vectors.
    pub width: usize,
    /// The panel's rows are coordinates, otherwise queries.
    data: AlignedVec<f32>,
}

impl Packed {
    /// Packs states for vectors of `lanes`. For cosine they are divided by their norms, so that no product of theirs
    /// falls below the normal numbers before that of the keys' norms does.
    pub fn new(form: Form, similarity: Similarity, lanes: usize, queries: &[&Query]) -> Self {
        let depth = queries[0].exact.len();
        let (width, rows) = match form {
            Form::Panel => (queries.len().next_multiple_of(lanes), depth),
            Form::Rows => (depth.next_multiple_of(MAX_LANES), queries.len()),
        };
        let mut data = AlignedVec::zeros(width * rows);
        let scale =
            |query: &&Query| if similarity == Similarity::Cosine { 1.0 / query.norm.max(SMALLEST_NORM) } else { 1.0 };
        let scales: Vec<f64> = queries.iter().map(scale).collect();
        vectorized(|| match form {
            // A cache line of each query at a time.
            Form::Panel => {
                for (part, rows) in data.chunks_mut(8 * width).enumerate() {
                    for (q, (query, scale)) in queries.iter().zip(&scales).enumerate() {
                        for (to, x) in rows[q..].iter_mut().step_by(width).zip(&query.exact[8 * part..]) {
                            *to = (x * scale) as f32;
                        }
                    }
                }
            }
            Form::Rows => {
                for ((row, query), scale) in data.chunks_exact_mut(width).zip(queries).zip(&scales) {
                    for (to, x) in row.iter_mut().zip(&query.exact) {
                        *to = (x * scale) as f32;
                    }
                }
            }
        });
        Self { form, queries: queries.len(), width, data }
    }

    /// The panel of [`Packed::new`] of the states that are `rows` of `dim`, with their norms: the same bits, and no state in
    /// `f64` on the way.
    pub fn panel(similarity: Similarity, lanes: usize, rows: &[f32], dim: usize, norms: &[f64]) -> Self {
        let (width, depth) = (norms.len().next_multiple_of(lanes), stride(dim));
        let mut data = AlignedVec::zeros(width * depth);
        Level::best().run(Pack { similarity, rows, dim, norms, width, data: &mut data });
        Self { form: Form::Panel, queries: norms.len(), width, data }
    }

    /// The coordinates of one [`PART`] of a panel, for each all queries, as [`Scores`] reads them.
    pub fn coordinates(&self, part: usize) -> &[f32] {
        let from = PART * self.width * part;
        &self.data[from..self.data.len().min(from + PART * self.width)]
    }
}

/// Rows of `dim` as a panel, for cosine divided by their norms.
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
            let scales: Vec<f64> = norms.iter().map(|norm| 1.0 / norm.max(SMALLEST_NORM)).collect();
            for row in data.chunks_exact_mut(width) {
                for (x, scale) in row.iter_mut().zip(&scales) {
                    *x = (f64::from(*x) * scale) as f32;
                }
            }
        }
    }
}

/// Approximate scores `beta similarity + bias` of a tile of keys: `scores[t * width + q]` of a panel, `scores[q * pitch + t]`
/// of rows. They are finite for queries that are [`is_well_scaled`].
pub(super) struct Scores<'a> {
    pub similarity: Similarity,
    pub beta: f32,
    pub block: &'a Packed,
    pub keys: &'a [f32],
    pub bias: &'a [f32],
    pub norms: &'a [f64],
    pub pitch: usize,
    pub scores: &'a mut [f32],
    /// Of few queries, whether no cache has the keys, so that they are read in the order in which they lie in memory.
    pub far: bool,
    pub prefetch: &'a mut Prefetch,
}

impl Scores<'_> {
    /// What a sum is multiplied by before `beta`.
    #[inline(always)]
    fn factor(similarity: Similarity, norm: f64) -> f32 {
        match similarity {
            Similarity::Dot => 1.0,
            Similarity::Cosine => (1.0 / norm.max(SMALLEST_NORM)) as f32,
            Similarity::Euclidean => -0.5,
            Similarity::Manhattan => -1.0,
        }
    }

    #[inline(always)]
    fn panel<S: Simd, T: Term, const V: usize>(self, simd: S, term: T) {
        let (width, count) = (V * S::LANES, self.bias.len());
        let stride = self.keys.len() / count;
        let once = [1.0; MAX_VECTORS * MAX_LANES];
        for start in (0..stride).step_by(CHAIN) {
            let depth = CHAIN.min(stride - start);
            let keys = Matrix { data: &self.keys[start..], rows: count, depth, row: stride, step: 1 };
            let before = (start > 0).then_some(&once[..]);
            product::<S, T, V>(simd, term, keys, &self.block.data[start * width..], before, self.scores, self.prefetch);
        }
        let beta = simd.splat(self.beta);
        for t in 0..count {
            let (factor, bias) = (simd.splat(Self::factor(self.similarity, self.norms[t])), simd.splat(self.bias[t]));
            for part in self.scores[t * width..(t + 1) * width].chunks_exact_mut(S::LANES) {
                simd.write(part, simd.mul_add(beta, simd.mul(simd.read(part), factor), bias));
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd, T: Term>(self, simd: S, term: T) {
        let count = self.bias.len();
        let stride = self.keys.len() / count;
        for (x, scores) in self.block.data.chunks_exact(self.block.width).zip(self.scores.chunks_exact_mut(self.pitch))
        {
            let mut at = 0;
            while at + 8 <= count {
                let keys = &self.keys[at * stride..];
                let sums = match self.far {
                    true => sums_in_order::<S, T, 8>(simd, term, x, keys, stride),
                    false => sums::<S, T, 8>(simd, term, x, keys, stride),
                };
                scores[at..at + 8].copy_from_slice(&sums);
                at += 8;
            }
            while at < count {
                scores[at] = sums::<S, T, 1>(simd, term, x, &self.keys[at * stride..], stride)[0];
                at += 1;
            }
            for (t, score) in scores[..count].iter_mut().enumerate() {
                *score = self.beta * (*score * Self::factor(self.similarity, self.norms[t])) + self.bias[t];
            }
        }
    }
}

/// [`sums`], one key after the other, with the same bits. A processor fetches ahead what is read in the order in which it lies
/// in memory, and into its second cache, which waits for more lines at once than the first.
#[inline(always)]
fn sums_in_order<S: Simd, T: Term, const M: usize>(
    simd: S,
    term: T,
    x: &[f32],
    keys: &[f32],
    stride: usize,
) -> [f32; M] {
    let mut result = [0.0; M];
    for (m, result) in result.iter_mut().enumerate() {
        let (key, mut lanes) = (&keys[m * stride..(m + 1) * stride], simd.splat(0.0));
        let (parts, whole) = (key.chunks_exact(S::LANES), stride / S::LANES * S::LANES);
        for (key, x) in parts.zip(x.chunks_exact(S::LANES)) {
            simd.prefetch_ahead(key);
            lanes = term.add(simd, lanes, simd.read(key), simd.read(x));
        }
        if whole < stride {
            lanes = term.add(simd, lanes, simd.read_part(&key[whole..]), simd.read(&x[whole..]));
        }
        *result = simd.reduce_sum(lanes);
    }
    result
}

/// The sums of one state with `M` keys, a vector of coordinates at a time.
#[inline(always)]
fn sums<S: Simd, T: Term, const M: usize>(simd: S, term: T, x: &[f32], keys: &[f32], stride: usize) -> [f32; M] {
    let mut lanes = [simd.splat(0.0); M];
    let mut c = 0;
    while c + S::LANES <= stride {
        let x = simd.read(&x[c..]);
        for (m, lanes) in lanes.iter_mut().enumerate() {
            let key = &keys[m * stride + c..];
            // Rows far apart are no stream that a processor would see by itself.
            simd.prefetch(key.as_ptr().wrapping_add(M * stride));
            *lanes = term.add(simd, *lanes, simd.read(key), x);
        }
        c += S::LANES;
    }
    if c < stride {
        let x = simd.read(&x[c..]);
        for (m, lanes) in lanes.iter_mut().enumerate() {
            *lanes = term.add(simd, *lanes, simd.read_part(&keys[m * stride + c..(m + 1) * stride]), x);
        }
    }
    let mut result = [0.0; M];
    for (result, lanes) in result.iter_mut().zip(lanes) {
        *result = simd.reduce_sum(lanes);
    }
    result
}

impl Work for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        macro_rules! terms {
            ($term:expr) => {
                match self.block.form {
                    Form::Rows => self.rows(simd, $term),
                    Form::Panel => by_vectors!(S, self.block.width, self.panel::<S, _; V>(simd, $term)),
                }
            };
        }
        match self.similarity {
            Similarity::Dot | Similarity::Cosine => terms!(Times),
            Similarity::Euclidean => terms!(Squared),
            Similarity::Manhattan => terms!(Absolute),
        }
    }
}

/// The largest magnitude of the sum behind a similarity, for keys of norms up to `largest`.
fn reach(similarity: Similarity, x: &Query, largest: f64) -> f64 {
    let both = x.norm + largest;
    match similarity {
        Similarity::Dot => x.norm * largest,
        Similarity::Cosine => largest,
        Similarity::Euclidean => both * both,
        Similarity::Manhattan => (x.exact.len() as f64).sqrt() * both,
    }
}

/// Whether no [`Scores`] of this state can overflow, for keys of norms up to `largest` and biases up to `bias`.
pub(super) fn is_well_scaled(similarity: Similarity, beta: f32, x: &Query, largest: f64, bias: f64) -> bool {
    const ROOM: f64 = 1e37;
    let reach = reach(similarity, x, largest).max(x.norm);
    reach < ROOM && f64::from(beta.abs()) * reach.max(1.0) + bias < ROOM
}

/// How far [`Scores`] may be from `beta` [`exact`] `+ bias`, for any key of a norm up to `largest` and biases up to
/// `bias`: the first-order bound of a chain of sums, with room for the rounding of the state, of the terms and of what is
/// made of the sum, and for what underflows.
pub(super) fn approximate_error(
    form: Form,
    lanes: usize,
    similarity: Similarity,
    beta: f32,
    x: &Query,
    largest: f64,
    bias: f64,
) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let depth = x.exact.len();
    let chain = match form {
        Form::Panel => depth.min(CHAIN) + depth.div_ceil(CHAIN),
        Form::Rows => depth.div_ceil(lanes) + 4,
    };
    let roundings = (chain as f64 + 8.0) * unit;
    // Cosine: below the norm's clamp the product is divided by more than the norms, so this holds there, too.
    let reach = if similarity == Similarity::Cosine { 1.0 } else { reach(similarity, x, largest) };
    // Of products, and of coordinates of the state beside keys.
    let underflow = depth as f64
        * 1e-44
        * (1.0 + largest)
        * if similarity == Similarity::Cosine { 1.0 / SMALLEST_NORM } else { 1.0 };
    f64::from(beta.abs()) * (roundings * reach + underflow) + 4.0 * unit * bias + 1e-44
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::level::Level;

    const ALL: [Similarity; 4] = [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan];

    fn norm(key: &[f32]) -> f64 {
        key.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>().sqrt()
    }

    /// The approximate scores of one query, whose batch is filled up with other queries, in every form and on every level.
    fn approximate(
        similarity: Similarity,
        beta: f32,
        query: &Query,
        keys: &[Vec<f32>],
        bias: &[f32],
    ) -> Vec<(Form, usize, Vec<f32>)> {
        let stride = query.exact.len();
        let rows: Vec<f32> = keys.concat();
        let norms: Vec<f64> = keys.iter().map(|key| norm(key)).collect();
        let other = Query::new(1, vec![0.5; stride]);
        let mut all = Vec::new();
        for level in Level::available() {
            let lanes = level.lanes();
            let panels = (1..=level.panel()).step_by(lanes).chain([level.panel()]).map(|batch| (Form::Panel, batch));
            for (form, batch) in [(Form::Rows, 1), (Form::Rows, 3)].into_iter().chain(panels) {
                let mut queries = vec![&other; batch];
                queries[batch / 2] = query;
                let block = Packed::new(form, similarity, lanes, &queries);
                let (norms, pitch) = (&norms[..], keys.len());
                let keys = &rows[..];
                let [scores, in_order] = [false, true].map(|far| {
                    let mut scores = vec![f32::NAN; norms.len() * block.width.max(batch)];
                    level.run(Scores {
                        similarity,
                        beta,
                        block: &block,
                        keys,
                        bias,
                        norms,
                        pitch,
                        scores: &mut scores,
                        far,
                        prefetch: &mut Prefetch::none(),
                    });
                    scores
                });
                let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&scores), bits(&in_order), "{similarity:?} {form:?} {lanes} lanes");
                let at = |t| if form == Form::Panel { t * block.width + batch / 2 } else { batch / 2 * pitch + t };
                all.push((form, lanes, (0..pitch).map(|t| scores[at(t)]).collect()));
            }
        }
        all
    }

    #[test]
    fn every_length_is_summed_whole() {
        for n in (0..200).step_by(4).skip(1) {
            let x: Vec<f32> = (0..n).map(|i| (i % 32) as f32).collect();
            let query = Query::new(0, x.iter().map(|v| f64::from(*v)).collect());
            let expected: f64 = x.iter().map(|v| f64::from(v * v)).sum();
            assert_eq!(exact(Similarity::Dot, &query, &x, norm(&x)), expected, "length {n}");
            // As many keys as leave a rest after every tile.
            for (form, lanes, scores) in approximate(Similarity::Dot, 1.0, &query, &vec![x; 15], &[0.0; 15]) {
                assert!(scores.iter().all(|z| f64::from(*z) == expected), "length {n} {form:?} {lanes}: {scores:?}");
            }
        }
    }

    #[test]
    fn approximate_scores_are_within_their_bound() {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / f64::from(1u32 << 23) - 1.0
        };
        for d in [4, 8, 64, 1000, 3000] {
            for scale in [1e-25, 1e-3, 1.0, 1e3, 1e15, 1e25] {
                for (beta, offset) in [(1.0f32, 0.0), (-30.0, 3.0), (1e-3, 1e4)] {
                    let query = Query::new(0, (0..d).map(|_| next() * scale).collect());
                    let keys: Vec<Vec<f32>> =
                        (0..13).map(|_| (0..d).map(|_| (next() * scale) as f32).collect()).collect();
                    let bias: Vec<f32> = (0..13).map(|_| (next() * offset) as f32).collect();
                    let largest = keys.iter().map(|key| norm(key)).fold(0.0, f64::max);
                    for similarity in ALL {
                        if !is_well_scaled(similarity, beta, &query, largest, offset) {
                            assert!(scale > 1e10, "{similarity:?} d {d} scale {scale}");
                            continue;
                        }
                        for (form, lanes, scores) in approximate(similarity, beta, &query, &keys, &bias) {
                            let bound = approximate_error(form, lanes, similarity, beta, &query, largest, offset);
                            for ((score, key), bias) in scores.iter().zip(&keys).zip(&bias) {
                                let exact = exact(similarity, &query, key, norm(key));
                                let error = f64::from(*score) - (f64::from(beta) * exact + f64::from(*bias));
                                let what = format!("{similarity:?} {form:?} {lanes} d {d} scale {scale} beta {beta}");
                                assert!(error.abs() <= bound, "{what}: {error} above {bound}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_querys_scores_do_not_depend_on_its_neighbours() {
        let query = Query::new(0, (0..100).map(|i| f64::from(i * 7919 % 101) / 101.0).collect());
        let keys: Vec<Vec<f32>> = (0..37).map(|k| (0..100).map(|i| ((i * k) % 97) as f32 / 97.0).collect()).collect();
        for similarity in ALL {
            let all = approximate(similarity, 1.0, &query, &keys, &[0.0; 37]);
            for (form, lanes, scores) in &all {
                let same = all.iter().filter(|other| (other.0, other.1) == (*form, *lanes));
                assert!(same.into_iter().all(|other| other.2 == *scores), "{similarity:?} {form:?} {lanes}");
            }
        }
    }

    #[test]
    fn small_distances_far_from_the_origin() {
        let query = Query::new(0, vec![1000.0, -999.5, 0.0, 0.0]);
        let key = vec![1000.0625f32, -999.5, 0.0, 0.0];
        let expected = -0.5 * 0.0625 * 0.0625;
        assert_eq!(exact(Similarity::Euclidean, &query, &key, norm(&key)), expected);
        for (form, lanes, scores) in approximate(Similarity::Euclidean, 1.0, &query, &[key], &[0.0]) {
            assert_eq!(f64::from(scores[0]), expected, "{form:?} {lanes}");
        }
    }
}
