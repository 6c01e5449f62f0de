//! The answers: joined, as tensors of a file, and in words.

use std::fmt::Write;

use attractor::files::NewTensor;
use attractor::retrieval::{FixedPoint, Status};
use attractor::{Memory, Retrieval};

use super::args::RetrieveArgs;

/// Appends the answers to further queries.
pub fn append(to: &mut Retrieval, more: Retrieval) {
    fn extend<T>(to: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
        if let Some(more) = more {
            to.get_or_insert_default().extend(more);
        }
    }
    (to.dim, to.value_dim, to.patterns) = (more.dim, more.value_dim, more.patterns);
    to.batch += more.batch;
    to.output.extend(more.output);
    to.state.extend(more.state);
    to.steps.extend(more.steps);
    to.converged.extend(more.converged);
    to.status.extend(more.status);
    extend(&mut to.energy, more.energy);
    extend(&mut to.statistics, more.statistics);
    extend(&mut to.weights, more.weights);
    if let Some(more) = more.top {
        let top = to.top.get_or_insert_default();
        top.k = more.k;
        top.ids.extend(more.ids);
        top.weight.extend(more.weight);
        top.similarity.extend(more.similarity);
        extend(&mut top.found, more.found);
    }
}

/// What is written of `answers`.
pub fn tensors(answers: &Retrieval) -> Vec<NewTensor<'_>> {
    let batch = answers.batch;
    let mut tensors = vec![
        NewTensor::f32("output", &[batch, answers.value_dim], &answers.output),
        NewTensor::f32("state", &[batch, answers.dim], &answers.state),
        NewTensor::u32("steps", &[batch], &answers.steps),
        NewTensor::bool("converged", &[batch], &answers.converged),
    ];
    if let Some(energy) = &answers.energy {
        tensors.push(NewTensor::f32("energy", &[batch], energy.iter().map(|&e| e as f32).collect::<Vec<_>>()));
    }
    if let Some(statistics) = &answers.statistics {
        tensors.push(NewTensor::u32("support", &[batch], statistics.iter().map(|s| s.support).collect::<Vec<_>>()));
        tensors.push(NewTensor::f32(
            "perplexity",
            &[batch],
            statistics.iter().map(|s| s.perplexity).collect::<Vec<_>>(),
        ));
        tensors.push(NewTensor::f32("largest", &[batch], statistics.iter().map(|s| s.largest).collect::<Vec<_>>()));
    }
    if let Some(top) = &answers.top {
        // Patterns of a key file have their rows as ids.
        let rows: Vec<u32> =
            top.ids.iter().map(|id| id.and_then(|id| u32::try_from(id.0).ok()).unwrap_or(u32::MAX)).collect();
        tensors.push(NewTensor::u32("top_index", &[batch, top.k], rows));
        tensors.push(NewTensor::f32("top_weight", &[batch, top.k], &top.weight));
        tensors.push(NewTensor::f32("top_similarity", &[batch, top.k], &top.similarity));
        if let Some(found) = &top.found {
            tensors.push(NewTensor::u64("top_found", &[batch], found));
        }
    }
    if let Some(weights) = &answers.weights {
        tensors.push(NewTensor::f32("weights", &[batch, answers.patterns], weights));
    }
    tensors
}

/// What there is to say of `answers`, in lines.
pub fn remarks(args: &RetrieveArgs, memory: &Memory, answers: &Retrieval) -> String {
    let (batch, patterns) = (answers.batch, answers.patterns);
    let mut text = format!("{patterns} patterns, {}, on {}\n", memory.rule(), memory.device().info());
    // Writing to a String cannot fail.
    if args.converge.is_some() {
        let converged = answers.converged.iter().filter(|converged| **converged).count();
        let (fewest, most) = (answers.steps.iter().min().unwrap_or(&0), answers.steps.iter().max().unwrap_or(&0));
        let _ = writeln!(text, "{converged} of {batch} queries converged, after {fewest} to {most} steps");
    }
    if let (Some(asked), Some(top)) = (args.top, &answers.top)
        && top.k < asked
    {
        let _ = writeln!(text, "--top {asked}: there are {patterns} patterns, so {} at most are reported", top.k);
    }
    if let Some(statistics) = &answers.statistics {
        let answered = || statistics.iter().zip(&answers.status).filter(|(_, status)| **status != Status::NothingLeft);
        let of = |kind| answered().filter(|(s, _)| s.kind == kind).count();
        let (single, some, all) = (of(FixedPoint::Single), of(FixedPoint::Metastable), of(FixedPoint::Global));
        let _ = writeln!(
            text,
            "{single} answers are a single pattern (largest weight >= 0.99), {all} an average over all (perplexity >= \
             N/2), {some} an average over some"
        );
    }
    let cycling = answers.status.iter().filter(|status| **status == Status::Cycle).count();
    if cycling > 0 {
        let _ = writeln!(text, "{cycling} of {batch} queries come back to a state that they had, and would for ever");
    }
    let nothing = answers.status.iter().filter(|status| **status == Status::NothingLeft).count();
    if nothing > 0 {
        let _ = writeln!(text, "{nothing} of {batch} queries may use no pattern: their answers are zero");
    }
    text
}
