//! `attractor retrieve`: from files to a file.

mod answers;
mod args;
mod inputs;

use std::fmt::Write;

use attractor::{Memory, Retrieval, files};

use crate::failure::{Failure, emit};
use crate::ui::progress;
use answers::{append, remarks, tensors};
use inputs::{Inputs, WIDE_CHUNK};

pub use args::{AFTER_HELP, RetrieveArgs};

/// Queries are asked this many numbers at a time, so that a bar has something to show.
const CHUNK: usize = 1 << 22;
/// Retrieves, and writes the answers.
pub fn run(args: &RetrieveArgs) -> Result<(), Failure> {
    args.check()?;
    let inputs = Inputs::open(args)?;
    files::check_target(&args.out, &args.inputs())?;
    // Numbers that only queries need come first: nothing is stored for a batch that will be refused.
    let queries = inputs.queries.floats(0..inputs.queries.len())?;
    inputs.check_mask()?;
    let mut answers = Retrieval::default();
    if args.weights {
        answers.weights = Some(room_for_weights(&inputs)?);
    }

    let device = args.device.open()?;
    let memory = inputs.stored.build(args.store(), inputs.rule, &device)?;

    let chunk = (CHUNK / memory.dim().max(memory.value_dim())).max(1);
    let wide = args.weights || inputs.mask_per_query();
    let wide = if wide { WIDE_CHUNK / memory.position_count().max(1) } else { usize::MAX };
    let tall = CHUNK / args.top.unwrap_or(1);
    let chunk = chunk.min(wide).min(tall).clamp(1, inputs.batch);
    // What is drawn by chance depends on a query's number in its batch.
    let chunk = if inputs.rule.update.temperature > 0.0 { inputs.batch } else { chunk };
    let explanation = explanation(args, &inputs, &memory, chunk)?;
    let bar = progress::bar(inputs.batch, "retrieving");
    // One plan for every chunk, so that a query's bits do not depend on where the cuts fall.
    let mut options = args.options(inputs.rule.similarity).plan_for(chunk);
    for (i, part) in queries.chunks(chunk * memory.dim()).enumerate() {
        let count = part.len() / memory.dim();
        if (i == 0 || inputs.mask_per_query())
            && let Some(mask) = inputs.mask(i * chunk..i * chunk + count)?
        {
            options = options.mask(mask);
        }
        append(&mut answers, memory.retrieve_blocking(part, &options)?);
        bar.inc(count as u64);
    }
    bar.finish_and_clear();

    let tensors = tensors(&answers);
    files::write_tensors(&args.out, &tensors)?;
    let list: Vec<String> = tensors.iter().map(ToString::to_string).collect();
    let head = format!("wrote {}: {}\n", args.out.display(), list.join(", "));
    emit(&(head + &remarks(args, &memory, &answers) + &explanation))
}

/// Room for all weights, taken before long work: where there is too little, now is the time to say so.
fn room_for_weights(inputs: &Inputs) -> Result<Vec<f32>, Failure> {
    let (batch, patterns) = (inputs.batch, inputs.stored.positions());
    let mut weights = Vec::new();
    batch.checked_mul(patterns).and_then(|count| weights.try_reserve_exact(count).ok()).ok_or_else(|| {
        Failure::Work(format!(
            "--weights: {batch} x {patterns} floats do not fit in memory; ask with fewer queries, or for --top"
        ))
    })?;
    Ok(weights)
}

/// How the first `chunk` of queries are answered, and that there are others like it; empty unless asked for.
fn explanation(args: &RetrieveArgs, inputs: &Inputs, memory: &Memory, chunk: usize) -> Result<String, Failure> {
    if !args.explain {
        return Ok(String::new());
    }
    let mut options = args.options(inputs.rule.similarity).plan_for(chunk);
    if let Some(mask) = inputs.mask(0..chunk)? {
        options = options.mask(mask);
    }
    let mut text = format!("{}\n", memory.explain(chunk, &options)?);
    let chunks = inputs.batch.div_ceil(chunk);
    if chunks > 1 {
        let _ = writeln!(text, "the same {chunks} times, for {} queries", inputs.batch);
    }
    Ok(text)
}
