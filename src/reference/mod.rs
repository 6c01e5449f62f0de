//! The oracle: plain `f64` loops over the formulas, too simple to be wrong, slow, and sharing no code with the engines
//! that it judges. It checks none of its inputs: sizes that do not fit, a dimension of zero, and parameters outside
//! their domain panic or give no number.
//!
//! ```text
//! z_i = beta * similarity(x, k_i) + b_i      similarity
//! w   = separation(z)                        separation
//! sum_i w_i k_i,  y = sum_i w_i v_i          projection
//! x'  = what the rule's update makes of it   update
//! ```
//!
//! ```
//! use attractor::{Rule, reference::Problem};
//! let keys = [1.0, 0.0, 0.0, 1.0]; // two patterns of two dimensions
//! let answer = Problem::new(Rule::softmax(8.0), 2, &keys).retrieve(&[0.9, 0.1], 1);
//! assert!(answer.weights[0] > 0.99);
//! ```

mod energy;
mod network;
mod problem;
mod projection;
mod report;
mod separation;
mod similarity;
mod update;

pub use crate::factor::Factor;
pub use network::{NetworkAnswer, NetworkProblem, NetworkUpdate};
pub use problem::{Answer, Problem};
pub use projection::project;
pub use report::{Statistics, statistics, top};
pub use separation::{potential, separate};
pub use similarity::similarity;
