//! The trial of a number: ordinary and extreme numbers, drawn from a seed.

use attractor::{Precision, Rule, Separation, Similarity};

use super::{Trial, Way};
use crate::case::Case;
use crate::rng::Rng;

/// What numbers of one tensor are like.
#[derive(Clone, Copy)]
enum Palette {
    Unit,
    /// Small whole numbers, so that there are ties.
    Whole,
    /// About as large as this.
    Scale(f32),
    /// Of every magnitude.
    Mixed,
    Denormal,
    /// Plus and minus the largest that there are.
    Huge,
    Zero,
}

impl Rng {
    /// Ten to the power of a uniform number.
    fn power(&mut self, least: f32, most: f32) -> f32 {
        let exponent = least + (most - least) * 0.5 * (self.unit() + 1.0);
        10.0f32.powf(exponent).clamp(f32::MIN_POSITIVE, f32::MAX)
    }

    fn palette(&mut self, extreme: bool) -> Palette {
        if !extreme {
            return match self.below(4) {
                0 => Palette::Whole,
                1 => Palette::Scale(self.pick(&[0.01, 0.1, 4.0, 30.0])),
                _ => Palette::Unit,
            };
        }
        match self.below(9) {
            0 => Palette::Mixed,
            1 => Palette::Denormal,
            2 => Palette::Huge,
            3 => Palette::Zero,
            4 => Palette::Scale(self.pick(&[1e-38, 1e-30, 1e-23, 1e-19, 1e-12])),
            5 => Palette::Scale(self.pick(&[1e12, 1e18, 1e19, 1.9e19, 1e30, 1e38])),
            6 => Palette::Scale(self.power(-38.0, 38.0)),
            _ => Palette::Unit,
        }
    }

    fn number(&mut self, palette: Palette) -> f32 {
        if self.once_in(40) {
            return 0.0;
        }
        match palette {
            Palette::Unit => self.unit(),
            Palette::Whole => (2.49 * self.unit()).round(),
            Palette::Scale(scale) => scale * self.unit(),
            Palette::Mixed => self.power(-40.0, 38.0) * self.unit().signum(),
            Palette::Denormal => 1e-38 * self.unit() * self.pick(&[1.0, 1e-2, 1e-5]),
            Palette::Huge => self.pick(&[3e38, 2e38, 1e38, 3.4e38, f32::MAX]) * self.unit().signum(),
            Palette::Zero => 0.0,
        }
    }

    fn numbers(&mut self, palette: Palette, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number(palette)).collect()
    }
}

/// Whether the trial of this number has extreme numbers; the others hold what is usual.
pub fn is_extreme(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// The trial of this number under a seed.
pub fn trial(seed: u64, number: usize) -> Trial {
    let mut rng = Rng(seed ^ (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let extreme = is_extreme(number);
    let n = &mut rng;
    let dim = n.pick(&[1, 1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 33, 64, 70]);
    let patterns = match n.below(12) {
        0 => 1,
        1 => 130 + n.below(140),
        2 => 33 + n.below(40),
        _ => 1 + n.below(20),
    };
    let batch = match n.below(12) {
        0 => 17 + n.below(50),
        _ => 1 + n.below(5),
    };
    let value_dim = if n.once_in(3) { Some(n.pick(&[1, 2, 3, 5, 8, 33])) } else { None };
    let similarity =
        n.pick(&[Similarity::Dot, Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan]);
    let alpha = match n.below(6) {
        0 if extreme => n.pick(&[1.000_000_1, 1.0001, 1.001, 10.0, 20.0, 50.0, 1e3, 1e6]),
        1 => 1.0 + n.power(-2.0, 1.0),
        _ => n.pick(&[1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0]),
    };
    let separation = match n.below(7) {
        0 | 1 => Separation::Softmax,
        2 => Separation::Softmax1,
        3 => Separation::Sparsemax,
        4 | 5 => Separation::Entmax { alpha },
        _ => Separation::TopK { k: n.pick(&[1, 2, 3, 5, 9, 40, 1000]) },
    };
    let (keys, queries) = (n.palette(extreme), n.palette(extreme));
    let mut case = Case::random(0, batch, patterns, dim, value_dim, Rule::new(similarity, separation, 1.0));
    case.keys = n.numbers(keys, patterns * dim);
    case.queries = n.numbers(queries, batch * dim);
    if let Some(value_dim) = value_dim {
        let palette = n.palette(extreme);
        case.values = Some(n.numbers(palette, patterns * value_dim));
    }
    // Queries near a key, as recall has them.
    if n.once_in(3) {
        for b in 0..batch {
            let key = n.below(patterns);
            for c in 0..dim {
                case.queries[b * dim + c] = case.keys[key * dim + c] * (1.0 + 0.1 * n.unit()).min(1.0);
            }
        }
    }
    // Equal rows.
    if n.once_in(4) {
        for _ in 0..patterns.div_ceil(3) {
            let (from, to) = (n.below(patterns), n.below(patterns));
            case.keys.copy_within(from * dim..(from + 1) * dim, to * dim);
        }
    }
    if n.once_in(4) {
        let scale = if extreme { n.pick(&[1.0, 100.0, 1e30, 1e30, 1e-30, 3e38]) } else { n.pick(&[1.0, 5.0]) };
        let flat = n.once_in(3);
        case.bias = Some(
            (0..patterns)
                .map(|_| {
                    let unit = if flat { n.pick(&[-1.0, 1.0]) } else { n.unit() };
                    if n.once_in(4) { 0.0 } else { scale * unit }
                })
                .collect(),
        );
    }
    case.rule.beta = beta(n, &case, extreme);
    if n.once_in(4) {
        let share = n.pick(&[0.0, 0.3, 0.9]);
        case.keep = Some((0..batch * patterns).map(|_| n.unit() > 2.0 * share - 1.0).collect());
        if n.once_in(3) {
            let b = n.below(batch);
            case.keep.as_mut().expect("it is there")[b * patterns..(b + 1) * patterns].fill(false);
        }
    }
    if n.once_in(5) {
        case.clamp = Some((0..batch * dim).map(|_| n.once_in(3)).collect());
    }
    case.precision = n.pick(&[Precision::F32, Precision::F32, Precision::F32, Precision::F16, Precision::I8]);
    if n.once_in(4) {
        let row = 4 * dim.max(value_dim.unwrap_or(0)).next_multiple_of(4);
        case.window_bytes = Some((row * (1 + n.below(patterns))) as u64);
    }
    if n.once_in(3) {
        case.steps = 2 + n.below(3) as u32;
        if n.once_in(2) {
            case.tolerance = Some(n.pick(&[1e-6, 1e-3, 0.1, 1.0, 1e30]));
        }
    }
    let removed = if n.once_in(4) && patterns > 1 {
        (0..patterns).filter(|_| n.once_in(3)).take(patterns - 1).collect()
    } else {
        Vec::new()
    };
    let way = match n.below(6) {
        0 | 1 => Way::Awaited,
        2 if case.steps == 1 && case.clamp.is_none() => Way::Parts,
        _ => Way::Blocking,
    };
    let mut trial =
        Trial { case, removed, way, energy: false, statistics: false, weights: false, top: 0, least_weight: None };
    if way == Way::Parts {
        trial.top = if n.once_in(2) { n.pick(&[1, 2, 5, 12]) } else { 0 };
    } else {
        trial.energy = n.once_in(3);
        trial.weights = n.once_in(2);
        trial.statistics = n.once_in(3);
        trial.top = if n.once_in(3) { n.pick(&[1, 2, 5, 12]) } else { 0 };
        if trial.top > 0 && n.once_in(2) {
            trial.least_weight = Some(n.pick(&[1.0 / 1024.0, 0.01, 0.05, 0.2, 0.5, 1.0]));
        }
    }
    // Some rules have no energy: that is refused, and tells nothing.
    let defined = match similarity {
        Similarity::Dot => !matches!(separation, Separation::TopK { .. }),
        Similarity::Euclidean => !matches!(separation, Separation::TopK { .. } | Separation::Softmax1),
        _ => false,
    };
    trial.energy &= defined && trial.case.rule.beta != 0.0;
    trial
}

/// A temperature at which the scores are of some ordinary size, where there is one; else any.
fn beta(n: &mut Rng, case: &Case, extreme: bool) -> f32 {
    if extreme && n.once_in(4) {
        return n.pick(&[0.0, -1.0, 1e38, -1e38, 1e-38, 1e-30, 1e30, 1.0]);
    }
    let unit = Rule { beta: 1.0, ..case.rule };
    let problem = Case { rule: unit, bias: None, keep: None, ..case.clone() };
    let query: Vec<f64> = problem.query(0).iter().map(|x| f64::from(*x)).collect();
    let scores = problem.problem(0).scores(&query);
    let most = scores.iter().fold(0.0f64, |most, z| most.max(z.abs()));
    let target = n.pick(&[0.01, 0.3, 1.0, 1.0, 3.0, 10.0, 30.0, 300.0, 1e5]);
    let beta = (target / most.max(1e-300)).clamp(1e-38, 3e38) as f32;
    let beta = if most == 0.0 { 1.0 } else { beta };
    match n.below(12) {
        0 => -beta,
        1 => 0.0,
        _ => beta,
    }
}
