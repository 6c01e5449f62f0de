//! Separations solved by exact passes over all patterns, where a list of the patterns that can have weight would be too
//! long: the same answers, in memory that does not depend on the number of patterns.

use crate::cpu::pack::Query;
use crate::cpu::separation::{entmax, topk};
use crate::cpu::tiles::PatternView;
use crate::exact::softmax;
use crate::exact::solved::Solved;
use crate::exact::unnormalized::Unnormalized;
use crate::rule::Separation;

/// Solves `separation` for the scores of `query`.
pub(crate) fn solve(view: &PatternView<'_>, query: &Query, separation: Separation) -> Solved {
    match separation {
        Separation::Softmax => exponentials(view, query, false),
        Separation::Softmax1 => exponentials(view, query, true),
        Separation::Sparsemax => entmax::solve(view, query, 2.0),
        Separation::Entmax { alpha } => entmax::solve(view, query, f64::from(alpha)),
        Separation::TopK { k } => topk::solve(view, query, k),
        Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
            unnormalized(view, query)
        }
    }
}

/// How the patterns count, and the sum of their parts of `T`.
fn unnormalized(view: &PatternView<'_>, query: &Query) -> Solved {
    let Some(weigher) = Unnormalized::of(&view.engine.rule, query.beta) else { return Solved::Nothing };
    let splits = view.pass(
        query,
        false,
        |_| (false, 0.0),
        |(any, of_self), pattern| {
            *any = true;
            *of_self += weigher.undivided(pattern.score).of_self;
        },
    );
    match splits.iter().any(|(any, _)| *any) {
        true => {
            let of_self: f64 = splits.iter().map(|(_, of_self)| of_self).sum();
            Solved::Unnormalized { weigher, of_self: of_self * weigher.share() }
        }
        false => Solved::Nothing,
    }
}

fn exponentials(view: &PatternView<'_>, query: &Query, plus_one: bool) -> Solved {
    let splits = view.pass(
        query,
        false,
        |_| (f64::NEG_INFINITY, 0.0),
        |running, pattern| softmax::accumulate(running, pattern.score),
    );
    let (max, sum) = softmax::join(&splits);
    softmax::from_sum(max, sum, plus_one)
}
