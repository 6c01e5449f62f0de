//! The partial state of one query over some of the patterns, and how two of them become one.

/// Softmax over some patterns: the largest score, the sum of `exp(z - max)`, and the same sum weighted by the rows.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    pub max: f32,
    pub sum: f32,
    /// Sums over the keys and then over the values, as far as either is asked for.
    pub rows: Vec<f32>,
}

impl Partial {
    /// The state of no pattern. The sentinel is finite so that no difference of maxima is NaN.
    pub fn empty(columns: usize) -> Self {
        Self { max: -3.0e38, sum: 0.0, rows: vec![0.0; columns] }
    }

    /// Takes in the state of other patterns.
    pub fn merge(&mut self, other: &Partial) {
        let max = self.max.max(other.max);
        let (mine, theirs) = ((self.max - max).exp(), (other.max - max).exp());
        self.max = max;
        self.sum = self.sum * mine + other.sum * theirs;
        for (sum, other) in self.rows.iter_mut().zip(&other.rows) {
            *sum = *sum * mine + other * theirs;
        }
    }
}
