//! Host side of `shaders/sparse/bracket_threshold.wgsl`: the ends of each query's bracket, and its record.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, entmax_numbers, rule_number, top_of};
use crate::gpu::kernels::staged::similarity::TRIAL_WORDS;
use crate::gpu::operands::KernelRule;

params! {
    stage: u32,
    slot: u32,
    k: u32,
    softmax1: u32,
    lowest: f32,
    margin: f32,
    pivot: u32,
    splits: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "bracket_threshold",
    source: include_str!("../../../../shaders/sparse/bracket_threshold.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 5,
    iterations: |_| iterations(1024),
    variants: &[Variant::RULES[0], Variant::RULES[1], Variant::RULES[2]],
};

/// Opens the brackets.
pub const OPEN: u32 = 0;
/// Narrows them by one pass.
pub const NARROW: u32 = 1;
/// Narrows them and writes the records.
pub const CLOSE: u32 = 2;
/// Narrows them, takes the pivot that was found and opens the brackets of `s` beside it.
pub const TURN: u32 = 3;
/// Narrows the brackets of pivots by one pass.
pub const APPROACH: u32 = 4;
/// Adds the sum of the weights, from the running statistics, to the record.
pub const SUM: u32 = 5;

/// Loop iterations of one invocation over the trials of `splits`.
fn iterations(splits: u64) -> u64 {
    splits.div_ceil(8) + 8 + 2 * 8 + 8
}

/// One `stage` of the search for `queries`, whose statistics are in `slot`, from the trials of `splits`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, rule: KernelRule, stage: u32, slot: u32, splits: u32) -> Dispatch {
    let (_, margin, _) = entmax_numbers(rule);
    // The largest weight is at least 1/N; that of a pivot may be as small as any that an f32 holds.
    let lowest = if rule.is_steep() { -87.0 } else { -(pass.operands.problem.patterns as f32).ln() };
    let params = Params {
        stage,
        slot,
        k: top_of(rule).1,
        softmax1: (rule == KernelRule::Softmax { one_more: true }).into(),
        lowest,
        margin,
        pivot: (rule.is_steep() && [OPEN, APPROACH, TURN].contains(&stage)).into(),
        splits,
    };
    let workspace = &pass.operands.workspace;
    let storage = [
        queries,
        &workspace.running_stats,
        &workspace.candidates.heads,
        &workspace.given,
        &workspace.brackets,
        &workspace.records,
    ];
    let count = u64::from(pass.block.count);
    let trials = count * u64::from(splits * TRIAL_WORDS);
    let work = match stage {
        OPEN => Work { flops: 0, bytes: 32 * count },
        _ => Work { flops: trials, bytes: 4 * trials },
    };
    let setting = Setting::constants([("RULE", rule_number(rule))]);
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
