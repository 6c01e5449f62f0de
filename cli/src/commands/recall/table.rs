//! The rows of `attractor recall`: for people, and for machines.

use attractor::retrieval::{FixedPoint, Statistics, Stop};
use harness::idx::Images;
use serde_json::{Value, json};

use super::judge::Verdict;
use super::trial::{Judgement, Outcome, RECALLED, Trial};
use crate::ui::report::device_json;
use crate::ui::table::{Column, duration};

/// Everything about one rule on one device, in 78 characters at least.
pub const COLUMNS: [Column; 9] = [
    Column::fixed("separation", 10),
    Column::fixed("recalled", 8),
    Column::fixed("nearest", 7),
    Column::fixed("steps", 5),
    Column::fixed("support", 7),
    Column::flexible("fixed points", 14, 26),
    Column::flexible("of bound", 5, 9),
    Column::flexible("a query", 7, 8),
    Column::flexible("alone", 7, 8),
];

/// What stands above all rows.
pub fn heading(trial: &Trial) -> String {
    let (Images { height, width, .. }, stored) = (&trial.images, trial.images.count());
    let until = match trial.stop {
        Stop::Steps(1) => "1 step".into(),
        Stop::Steps(steps) => format!("{steps} steps"),
        Stop::Converge { max_steps, tolerance } => {
            format!("until no pixel moves by more than {tolerance}, at most {max_steps} steps")
        }
        other => unreachable!("{other:?} is of another version"),
    };
    let beta = trial.rules.first().map_or(0.0, |rule| rule.beta);
    format!("{stored} images of {height} x {width}, damage {}, dot similarity, beta {beta}; {until}\n", trial.damage)
}

/// What stands below all rows.
pub fn legend() -> String {
    format!(
        "\nrecalled: cosine with the whole image above {RECALLED}; of bound: the worst error as a share of what \
         rounding explains; a query: in a batch of all asked; alone: in a batch of 1\n"
    )
}

/// The row of an outcome.
pub fn cells(outcome: &Outcome, judgement: &Judgement) -> Vec<String> {
    let Verdict { error, bound, stopped } = judgement.verdict;
    let mark = match judgement.wrong {
        0 => "",
        _ if !stopped => " STOPPED ELSEWHERE",
        _ => " EXCEEDED",
    };
    let batch = outcome.batch.batch;
    let statistics = outcome.batch.statistics.as_deref().unwrap_or_default();
    vec![
        outcome.rule.separation.to_string(),
        format!("{:.1} %", percent(recalled(judgement), batch)),
        format!("{:.1} %", 100.0 * judgement.nearest),
        format!("{:.2}", mean(outcome.batch.steps.iter().copied())),
        format!("{:.1}", mean(statistics.iter().map(|s| s.support))),
        kinds(statistics),
        format!("{:.3}{mark}", if error == 0.0 { 0.0 } else { error / bound }),
        duration(outcome.batch_time / batch as u32),
        duration(outcome.alone_time),
    ]
}

/// The same for machines.
pub fn row_json(outcome: &Outcome, judgement: &Judgement) -> Value {
    let statistics = outcome.batch.statistics.as_deref().unwrap_or_default();
    let of = |kind| statistics.iter().filter(|s| s.kind == kind).count();
    json!({
        "device": device_json(&outcome.device.info()), "separation": outcome.rule.separation.to_string(),
        "beta": outcome.rule.beta, "asked": outcome.batch.batch, "recalled": recalled(judgement),
        "nearest": judgement.nearest, "mean_steps": mean(outcome.batch.steps.iter().copied()),
        "mean_support": mean(statistics.iter().map(|s| s.support)), "single": of(FixedPoint::Single),
        "some": of(FixedPoint::Metastable), "all": of(FixedPoint::Global), "worst_error": judgement.verdict.error,
        "bound": judgement.verdict.bound, "wrong": judgement.wrong,
        "store_seconds": outcome.store_time.as_secs_f64(), "batch_seconds": outcome.batch_time.as_secs_f64(),
        "alone_seconds": outcome.alone_time.as_secs_f64(),
    })
}

fn recalled(judgement: &Judgement) -> usize {
    judgement.found.iter().filter(|&&found| found).count()
}

fn mean(counts: impl ExactSizeIterator<Item = u32>) -> f64 {
    let of = counts.len().max(1) as f64;
    counts.map(f64::from).sum::<f64>() / of
}

/// The share of each kind of fixed point that occurs.
fn kinds(statistics: &[Statistics]) -> String {
    const KINDS: [(FixedPoint, &str); 3] =
        [(FixedPoint::Single, "single"), (FixedPoint::Metastable, "some"), (FixedPoint::Global, "all")];
    let share = |kind| statistics.iter().filter(|s| s.kind == kind).count();
    let shares = KINDS.map(|(kind, name)| (share(kind), name));
    let there = shares.iter().filter(|(count, _)| *count > 0);
    there
        .map(|(count, name)| format!("{:.1} % {name}", percent(*count, statistics.len())))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Rounded down to a tenth: 100 % means all.
fn percent(part: usize, whole: usize) -> f64 {
    (1000 * part / whole) as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_not_rounded_up() {
        assert_eq!((percent(9999, 10_000), percent(10_000, 10_000), percent(0, 7)), (99.9, 100.0, 0.0));
    }
}
