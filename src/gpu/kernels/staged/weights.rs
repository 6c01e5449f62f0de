//! Host side of `shaders/staged/weights.wgsl`: a chunk of scores into unnormalised weights, and what is reported of
//! them.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, UNNORMALIZED, entmax_numbers, rule_number, threshold_of, weighing, with_form};
use crate::gpu::operands::{Chunk, KernelRule};

params! {
    first: u32,
    rows: u32,
    score_stride: u32,
    splits: u32,
    gain: f32,
    exponent: f32,
    margin: f32,
    beta: f32,
    threshold: f32,
    records_first: u32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "weights",
    source: include_str!("../../../../shaders/staged/weights.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.chunk_rows),
    variants: &[
        Variant::RULES[0],
        Variant::RULES[1],
        Variant::RULES[2],
        Variant { constants: &[("RULE", 1), ("FORM", 2)], ..Variant::PLAIN },
        Variant { constants: &[("RULE", 1), ("FORM", 3)], ..Variant::PLAIN },
        Variant { constants: &[("RULE", 1), ("FORM", 4)], ..Variant::PLAIN },
        Variant { constants: &[("RULE", 3), ("POWER", 3)], fragments: &UNNORMALIZED },
        Variant { constants: &[("RULE", 3), ("SELF", 1), ("POWER", 3), ("RECORDS", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("RULE", 3), ("POWER", 2), ("RECTIFIED", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("RULE", 3), ("STEP", 1)], fragments: &UNNORMALIZED },
    ],
};

/// Loop iterations of one invocation over `rows` patterns.
fn iterations(rows: u64) -> u64 {
    rows.div_ceil(256) * (1 + 8) + 5 * 8 + 4
}

/// The scores of a chunk to weights, in place, and tallies of them.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    rule: KernelRule,
    score_stride: u32,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let (gain, margin, exponent) = entmax_numbers(rule);
    let params = Params {
        first: chunk.is_first().into(),
        rows: chunk.count,
        score_stride,
        splits: chunk.splits,
        gain,
        exponent,
        margin,
        beta: pass.beta(),
        threshold: threshold_of(rule),
        records_first: pass.records_first(),
        padding: [0; 2],
    };
    let workspace = &pass.operands.workspace;
    let (keep, ..) = pass.mask_rows(queries);
    let storage = [queries, &workspace.records, keep, &workspace.scores, &workspace.tallies, &workspace.stats];
    let (weighing, fragments) = weighing(rule);
    let mut constants = with_form(rule, &[("RULE", rule_number(rule))]);
    constants.extend(weighing.into_iter().chain(pass.own_constant()));
    let setting = Setting { constants, fragments };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], pass.scanned(chunk, 10, 8))
}
