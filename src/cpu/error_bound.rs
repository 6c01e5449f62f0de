//! How far approximate scores may be from exact ones.

use crate::cpu::pack::{Form, Query};
use crate::cpu::similarity::CHAIN;
use crate::exact::scores::MIN_NORM;
use crate::rule::Similarity;

/// The largest magnitude of the sum behind a similarity, for keys of norms up to `largest`.
fn magnitude(similarity: Similarity, x: &Query, largest: f64) -> f64 {
    let both = x.norm + largest;
    match similarity {
        Similarity::Dot => x.norm * largest,
        Similarity::Cosine => largest,
        Similarity::Euclidean => both * both,
        Similarity::Manhattan => (x.exact.len() as f64).sqrt() * both,
    }
}

/// Whether no approximate score of this state can overflow, for keys of norms up to `largest` and biases up to `bias`.
pub(super) fn is_well_scaled(similarity: Similarity, x: &Query, largest: f64, bias: f64) -> bool {
    const LIMIT: f64 = 1e37;
    let magnitude = magnitude(similarity, x, largest).max(x.norm);
    magnitude < LIMIT && x.beta.abs() * magnitude.max(1.0) + bias < LIMIT
}

/// The largest difference of an approximate score ([`Scores`](super::similarity::Scores)) from the exact one, for keys
/// of norms up to `largest` and biases up to `bias`: the first-order bound of a chain of sums, with room for the
/// rounding of the state, of beta, of the terms and of the operations on the sum, and for underflow.
pub(super) fn max_error(form: Form, lanes: usize, similarity: Similarity, x: &Query, largest: f64, bias: f64) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let depth = x.exact.len();
    let chain = match form {
        Form::Panel => depth.min(CHAIN) + depth.div_ceil(CHAIN),
        Form::Rows => depth.div_ceil(lanes) + 4,
    };
    let roundings = (chain as f64 + 9.0) * unit;
    // Cosine divides by at least the norms, so 1 bounds it where the norms are below their minimum, too.
    let magnitude = if similarity == Similarity::Cosine { 1.0 } else { magnitude(similarity, x, largest) };
    // Of products, and of the coordinates of the state.
    let underflow =
        depth as f64 * 1e-44 * (1.0 + largest) * if similarity == Similarity::Cosine { 1.0 / MIN_NORM } else { 1.0 };
    x.beta.abs() * (roundings * magnitude + underflow) + 4.0 * unit * bias + 1e-44
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::pack::Packed;
    use crate::cpu::product::Prefetch;
    use crate::cpu::simd::level::Level;
    use crate::cpu::similarity::Scores;
    use crate::exact::scores::{key_norm, similarity as exact_similarity};

    const ALL: [Similarity; 4] = [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan];

    fn exact(similarity: Similarity, query: &Query, key: &[f32]) -> f64 {
        exact_similarity(similarity, &query.exact, query.norm, key, key_norm(key))
    }

    /// The approximate scores of one query in a batch with other queries, in every form and on every level.
    fn approximate(
        similarity: Similarity,
        query: &Query,
        keys: &[Vec<f32>],
        bias: &[f32],
    ) -> Vec<(Form, usize, Vec<f32>)> {
        let stride = query.exact.len();
        let rows: Vec<f32> = keys.concat();
        let norms: Vec<f64> = keys.iter().map(|key| key_norm(key)).collect();
        let other = Query::new(1, 0.25, vec![0.5; stride]);
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
                let [scores, in_order] = [false, true].map(|in_order| {
                    let mut scores = vec![f32::NAN; norms.len() * block.width.max(batch)];
                    level.run(Scores {
                        similarity,
                        block: &block,
                        keys,
                        bias,
                        norms,
                        pitch,
                        scores: &mut scores,
                        in_order,
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
            let query = Query::new(0, 1.0, x.iter().map(|v| f64::from(*v)).collect());
            let expected: f64 = x.iter().map(|v| f64::from(v * v)).sum();
            assert_eq!(exact(Similarity::Dot, &query, &x), expected, "length {n}");
            // As many keys as leave a rest after every tile.
            for (form, lanes, scores) in approximate(Similarity::Dot, &query, &vec![x; 15], &[0.0; 15]) {
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
                for (beta, offset) in [(1.0, 0.0), (-30.0, 3.0), (1e-3, 1e4), (0.1, 0.0)] {
                    let query = Query::new(0, beta, (0..d).map(|_| next() * scale).collect());
                    let keys: Vec<Vec<f32>> =
                        (0..13).map(|_| (0..d).map(|_| (next() * scale) as f32).collect()).collect();
                    let bias: Vec<f32> = (0..13).map(|_| (next() * offset) as f32).collect();
                    let largest = keys.iter().map(|key| key_norm(key)).fold(0.0, f64::max);
                    for similarity in ALL {
                        if !is_well_scaled(similarity, &query, largest, offset) {
                            assert!(scale > 1e10, "{similarity:?} d {d} scale {scale}");
                            continue;
                        }
                        for (form, lanes, scores) in approximate(similarity, &query, &keys, &bias) {
                            let bound = max_error(form, lanes, similarity, &query, largest, offset);
                            for ((score, key), bias) in scores.iter().zip(&keys).zip(&bias) {
                                let exact = exact(similarity, &query, key);
                                let error = f64::from(*score) - (beta * exact + f64::from(*bias));
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
    fn scores_of_a_query_do_not_depend_on_its_neighbours() {
        let query = Query::new(0, 1.0, (0..100).map(|i| f64::from(i * 7919 % 101) / 101.0).collect());
        let keys: Vec<Vec<f32>> = (0..37).map(|k| (0..100).map(|i| ((i * k) % 97) as f32 / 97.0).collect()).collect();
        for similarity in ALL {
            let all = approximate(similarity, &query, &keys, &[0.0; 37]);
            for (form, lanes, scores) in &all {
                let same = all.iter().filter(|other| (other.0, other.1) == (*form, *lanes));
                assert!(same.into_iter().all(|other| other.2 == *scores), "{similarity:?} {form:?} {lanes}");
            }
        }
    }

    #[test]
    fn small_distances_far_from_the_origin() {
        let query = Query::new(0, 1.0, vec![1000.0, -999.5, 0.0, 0.0]);
        let key = vec![1000.0625f32, -999.5, 0.0, 0.0];
        let expected = -0.5 * 0.0625 * 0.0625;
        assert_eq!(exact(Similarity::Euclidean, &query, &key), expected);
        for (form, lanes, scores) in approximate(Similarity::Euclidean, &query, &[key], &[0.0]) {
            assert_eq!(f64::from(scores[0]), expected, "{form:?} {lanes}");
        }
    }
}
