//! Weighted sums of rows.
#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::pack::Form;
use crate::cpu::product::{Matrix, Prefetch, Times, product};
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work, by_vectors};

/// `sums = sums * shrink + sum_t weights[t] * rows[t]` for each query of a scan.
pub(super) struct Project<'a> {
    pub form: Form,
    /// As in [`Scores`](super::similarity::Scores), whose layout the weights have.
    pub pitch: usize,
    pub weights: &'a [f32],
    pub shrink: &'a [f32],
    pub rows: &'a [f32],
    /// Floats of a row.
    pub stride: usize,
    /// `stride x pitch` floats for a panel, or a row of [`row_of_sums`] floats for each query.
    pub sums: &'a mut [f32],
    pub prefetch: &'a mut Prefetch,
}

/// Floats of the sums of one query of rows of `stride` floats, in whole vectors.
pub(super) fn row_of_sums(stride: usize) -> usize {
    stride.next_multiple_of(MAX_LANES)
}

impl Project<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(self, simd: S) {
        let depth = self.rows.len() / self.stride;
        let columns = Matrix { data: self.rows, rows: self.stride, depth, row: 1, step: self.stride };
        product::<S, Times, V>(simd, Times, columns, self.weights, Some(self.shrink), self.sums, self.prefetch);
    }

    #[inline(always)]
    fn rows<S: Simd>(self, simd: S) {
        let queries = self.sums.chunks_exact_mut(row_of_sums(self.stride));
        for ((sums, weights), shrink) in queries.zip(self.weights.chunks_exact(self.pitch)).zip(self.shrink) {
            let mut column = 0;
            while column < self.stride {
                let (rows, columns) = (self.rows.chunks_exact(self.stride), &mut sums[column..]);
                column += match (self.stride - column) / S::LANES {
                    8.. => columns_of::<S, 8>(simd, weights, *shrink, rows, column, columns),
                    4.. => columns_of::<S, 4>(simd, weights, *shrink, rows, column, columns),
                    1.. => columns_of::<S, 1>(simd, weights, *shrink, rows, column, columns),
                    _ => last_columns(simd, weights, *shrink, rows, column, columns),
                };
            }
        }
    }
}

/// Adds to the sums of `C` vectors of columns from `column` on. Returns the number of columns.
#[inline(always)]
fn columns_of<'a, S: Simd, const C: usize>(
    simd: S,
    weights: &[f32],
    shrink: f32,
    rows: impl Iterator<Item = &'a [f32]>,
    column: usize,
    sums: &mut [f32],
) -> usize {
    let mut lanes = [simd.splat(0.0); C];
    for (row, weight) in rows.zip(weights) {
        let (columns, weight) = (&row[column..column + C * S::LANES], simd.splat(*weight));
        for (c, lanes) in lanes.iter_mut().enumerate() {
            *lanes = simd.mul_add(weight, simd.read(&columns[c * S::LANES..]), *lanes);
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums.chunks_exact_mut(S::LANES)) {
        simd.write(sums, simd.mul_add(simd.read(sums), simd.splat(shrink), *lanes));
    }
    C * S::LANES
}

/// Adds to the sums of the columns from `column` on, less than a vector. Returns the number of columns.
#[inline(always)]
fn last_columns<'a, S: Simd>(
    simd: S,
    weights: &[f32],
    shrink: f32,
    rows: impl Iterator<Item = &'a [f32]>,
    column: usize,
    sums: &mut [f32],
) -> usize {
    let (mut lanes, mut count) = (simd.splat(0.0), 0);
    for (row, weight) in rows.zip(weights) {
        let columns = &row[column..];
        count = columns.len();
        lanes = simd.mul_add(simd.splat(*weight), simd.read_part(columns), lanes);
    }
    simd.write(sums, simd.mul_add(simd.read(sums), simd.splat(shrink), lanes));
    count
}

impl Work for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.form {
            Form::Rows => self.rows(simd),
            Form::Panel => by_vectors!(S, self.pitch, self.panel::<S; V>(simd)),
        }
    }
}

/// `sums += weight * row`, for one row of a support.
pub(super) fn add(sums: &mut [f64], weight: f64, row: &[f32]) {
    Level::best().run(Add { sums, weight, row });
}

struct Add<'a> {
    sums: &'a mut [f64],
    weight: f64,
    row: &'a [f32],
}

impl Work for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (sum, value) in self.sums.iter_mut().zip(self.row) {
            *sum += self.weight * f64::from(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_summed_whole() {
        // Small integers, whose sums are exact in every order.
        let number = |a: usize, b: usize| ((a * 31 + b * 17) % 13) as f32 - 6.0;
        for level in Level::available() {
            let panels = (level.lanes()..=level.panel()).step_by(level.lanes()).map(|queries| (Form::Panel, queries));
            for (form, queries) in [(Form::Rows, 1), (Form::Rows, 3)].into_iter().chain(panels) {
                for stride in (4..=160).step_by(4) {
                    for count in [1, 2, 63, 64] {
                        let pitch = if form == Form::Rows { 64 } else { queries };
                        let place = |q: usize, t: usize| if form == Form::Rows { q * pitch + t } else { t * pitch + q };
                        let mut weights = vec![f32::NAN; 64 * queries];
                        (0..queries).for_each(|q| (0..count).for_each(|t| weights[place(q, t)] = number(q, t)));
                        let rows: Vec<f32> = (0..count * stride).map(|i| number(i % stride, i / stride)).collect();
                        let shrink: Vec<f32> = (0..queries).map(|q| (q % 3) as f32).collect();
                        let row = row_of_sums(stride);
                        let mut sums = vec![5.0; if form == Form::Rows { queries * row } else { stride * queries }];
                        let (shrink_of, sums_mut) = (&shrink[..], &mut sums[..]);
                        level.run(Project {
                            form,
                            pitch,
                            weights: &weights,
                            shrink: shrink_of,
                            rows: &rows,
                            stride,
                            sums: sums_mut,
                            prefetch: &mut Prefetch::none(),
                        });
                        for q in 0..queries {
                            for c in 0..stride {
                                let expected =
                                    (0..count).map(|t| number(q, t) * number(c, t)).sum::<f32>() + 5.0 * shrink[q];
                                let got = sums[if form == Form::Rows { q * row + c } else { c * queries + q }];
                                assert_eq!(got, expected, "{level:?} {form:?} stride {stride} count {count}: {q} {c}");
                            }
                        }
                    }
                }
            }
        }
    }
}
