//! What came out beside what is expected.

use super::file::{Array, Failure, shape_text};

/// How far a number may be from the one that is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Not at all.
    Equal,
    /// By this.
    Within(f64),
    /// By this share of the largest magnitude that is expected, or of 1 where that is larger.
    OfLargest(f64),
    /// The signs are the same, but where what is expected is closer to 0 than this share of its largest magnitude.
    Signs(f64),
}

/// One tensor of answers.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What is allowed.
    pub allowed: Allowed,
    /// How many numbers differ by more than that.
    pub differing: usize,
    /// The first of them.
    pub first: Option<Difference>,
    /// The largest error of all numbers.
    pub largest: f64,
}

/// A number that differs.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Its place.
    pub at: Vec<usize>,
    /// What came out.
    pub got: f64,
    /// What is expected.
    pub expected: f64,
}

impl Comparison {
    /// Holds `got` against the tensor `expected` of a file.
    pub fn new(name: &str, got: &[f64], expected: &Array, allowed: Allowed) -> Result<Self, Failure> {
        let Array { shape, numbers } = expected;
        if got.len() != numbers.len() {
            let (came, shape) = (got.len(), shape_text(shape));
            return Err(Failure::Case(format!("tensor `{name}` is {shape}, and {came} numbers came out")));
        }
        let most = numbers.iter().fold(0.0f64, |most, number| most.max(number.abs()));
        let differs = |got: f64, expected: f64| match allowed {
            Allowed::Equal => got != expected,
            Allowed::Within(most) => is_beyond((got - expected).abs(), most),
            Allowed::OfLargest(share) => is_beyond((got - expected).abs(), share * most.max(1.0)),
            Allowed::Signs(share) => {
                let sign = |number: f64| f64::from(number > 0.0) - f64::from(number < 0.0);
                expected.abs() > share * most && sign(got) != sign(expected)
            }
        };
        let mut comparison =
            Self { name: name.to_owned(), shape: shape.clone(), allowed, differing: 0, first: None, largest: 0.0 };
        for (index, (&got, &expected)) in got.iter().zip(numbers).enumerate() {
            let error = (got - expected).abs();
            comparison.largest = if error.is_nan() { f64::INFINITY } else { comparison.largest.max(error) };
            if differs(got, expected) {
                comparison.differing += 1;
                comparison.first.get_or_insert_with(|| Difference { at: place(index, shape), got, expected });
            }
        }
        Ok(comparison)
    }

    /// Whether nothing differs.
    pub fn is_right(&self) -> bool {
        self.differing == 0
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equal => f.pad("equal"),
            Self::Within(most) => f.pad(&format!("{most:e}")),
            Self::OfLargest(share) => f.pad(&format!("{share:e} of the largest")),
            Self::Signs(_) => f.pad("equal in sign"),
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, got, expected } = self;
        write!(f, "{at:?} is {got}, expected {expected}")
    }
}

/// Whether an error is above `most`, or a NaN.
fn is_beyond(error: f64, most: f64) -> bool {
    error.is_nan() || error > most
}

/// Element number `index` of a row-major tensor.
fn place(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|side| {
            let place = index % side;
            index /= side;
            place
        })
        .collect();
    at.reverse();
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(got: &[f64], expected: &[f64], allowed: Allowed) -> Comparison {
        let expected = Array { shape: vec![2, expected.len() / 2], numbers: expected.to_vec() };
        Comparison::new("x", got, &expected, allowed).unwrap()
    }

    #[test]
    fn differences_are_counted_and_placed() {
        let expected = [1.0, -1.0, 0.0, 1.0, -8.0, 1.0];
        assert!(compare(&expected, &expected, Allowed::Equal).is_right());
        let got = [1.0, -1.0, 0.0, 1.0, -8.5, f64::NAN];
        let comparison = compare(&got, &expected, Allowed::Equal);
        assert_eq!((comparison.differing, comparison.largest), (2, f64::INFINITY));
        assert_eq!(comparison.first.unwrap().to_string(), "[1, 1] is -8.5, expected -8");
        assert_eq!(compare(&got, &expected, Allowed::Within(0.5)).differing, 1);
        assert_eq!(compare(&got, &expected, Allowed::OfLargest(0.0625)).differing, 1);
        assert_eq!(compare(&got, &expected, Allowed::OfLargest(0.06)).differing, 2);
        let signs = Allowed::Signs(0.2);
        assert!(compare(&[5.0, 5.0, 5.0, 5.0, -1.0, 1.0], &expected, signs).is_right());
        assert_eq!(compare(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &expected, signs).differing, 1);
        assert!(Comparison::new("x", &[1.0], &Array { shape: vec![2], numbers: vec![1.0; 2] }, signs).is_err());
    }
}
