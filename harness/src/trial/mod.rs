//! Random trials: a memory, what is asked of it and how, of ordinary and extreme numbers. Each is judged by
//! [`crate::interval`] against the reference, and one that fails is shrunk to what can be pasted into a test.

mod generate;
mod judge;
mod rust;
mod shrink;

use attractor::Device;

use crate::case::Case;

pub use generate::{is_extreme, trial};

/// How a memory is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The calling thread waits.
    Blocking,
    /// The answer is awaited.
    Awaited,
    /// Parts of the memory are asked apart, and merged: one update, of which the rows come.
    Parts,
}

/// One retrieval from one memory. Whatever is absent or empty is not used.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The problem.
    pub case: Case,
    /// Patterns that are removed before the memory is asked.
    pub removed: Vec<usize>,
    /// How it is asked.
    pub way: Way,
    /// Whether energies are asked for.
    pub energy: bool,
    /// Whether statistics are asked for.
    pub statistics: bool,
    /// Whether all weights are asked for.
    pub weights: bool,
    /// How many of the largest weights are asked for.
    pub top: usize,
    /// The least weight of these, if one is asked for.
    pub least_weight: Option<f32>,
}

/// How a trial came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every value is within its bound.
    Right,
    /// The call, or a query's status, says that there is no answer.
    Refused(String),
    /// What is wrong.
    Wrong(String),
}

impl Outcome {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

/// What came of many trials.
#[derive(Debug, Default)]
pub struct Tally {
    /// The number of trials that are right.
    pub right: usize,
    /// The number of trials without an answer.
    pub refused: usize,
    /// Numbers of the trials that are wrong, what is wrong, and the trials shrunk, as far as these are wanted.
    pub wrong: Vec<(usize, String, Option<Trial>)>,
}

/// Runs the trials of these numbers, and calls `each` after every one. The first `shrink` that are wrong are shrunk.
pub fn run(
    device: &Device,
    seed: u64,
    numbers: impl IntoIterator<Item = usize>,
    shrink: usize,
    mut each: impl FnMut(),
) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let trial = trial(seed, number);
        match trial.run(device, |_| ()) {
            Outcome::Right => tally.right += 1,
            Outcome::Refused(_) => tally.refused += 1,
            Outcome::Wrong(_) if tally.wrong.len() < shrink => {
                let (shrunk, why) = trial.shrunk(device, |_| ());
                tally.wrong.push((number, why, Some(shrunk)));
            }
            Outcome::Wrong(why) => tally.wrong.push((number, why, None)),
        }
        each();
    }
    tally
}
