//! Host side of `shaders/sparse/rank_top.wgsl`: the patterns of largest weight, in order, into the caller's rows.

use super::compare_listed::STRIDE;
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{
    LIST_CAPACITY, Pass, UNNORMALIZED, entmax_numbers, ranking_iterations, rule_number, threshold_of, top_of, weighing,
    with_form,
};
use crate::gpu::targets::TopOutputs;

params! {
    capacity: u32,
    stride: u32,
    k: u32,
    weighed: u32,
    margin: f32,
    gain: f32,
    exponent: f32,
    factor: f32,
    positions_first: u32,
    positions_stride: u32,
    weights_first: u32,
    weights_stride: u32,
    similarity_first: u32,
    similarity_stride: u32,
    wanted: u32,
    beta: f32,
    threshold: f32,
    divisor: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "rank_top",
    source: include_str!("../../../../shaders/sparse/rank_top.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |_| ranking_iterations(),
    variants: &[
        Variant::RULES[0],
        Variant::RULES[1],
        Variant { constants: &[("RULE", 1), ("FORM", 2)], fragments: &[] },
        Variant { constants: &[("RULE", 1), ("FORM", 3)], fragments: &[] },
        Variant { constants: &[("RULE", 1), ("FORM", 4)], fragments: &[] },
        Variant::RULES[2],
        Variant { constants: &[("RULE", 3), ("SELF", 1), ("POWER", 3)], fragments: &UNNORMALIZED },
    ],
};

/// The lists of the largest scores of `queries` to the rows of `outputs`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, outputs: &TopOutputs) -> Dispatch {
    let workspace = &pass.operands.workspace;
    let rule = pass.operands.kernel_rule();
    let (gain, margin, exponent) = entmax_numbers(rule);
    let TopOutputs { places, positions, weights, similarity, .. } = outputs;
    let (wanted, bound) = pass.bind_wanted([(positions, *places), (weights, *places), (similarity, *places)]);
    let [
        (positions, positions_first, positions_stride),
        (weights, weights_first, weights_stride),
        (similarity, similarity_first, similarity_stride),
    ] = bound;
    let params = Params {
        capacity: LIST_CAPACITY,
        stride: STRIDE,
        k: *places,
        weighed: top_of(rule).1,
        margin,
        gain,
        exponent,
        factor: pass.operands.rule.similarity.measure_factor(),
        positions_first,
        positions_stride,
        weights_first,
        weights_stride,
        similarity_first,
        similarity_stride,
        wanted,
        beta: pass.beta(),
        threshold: threshold_of(rule),
        divisor: rule.divisor(),
        padding: [0; 2],
    };
    let lists = &workspace.top;
    let storage = [
        queries,
        &lists.heads,
        &lists.list,
        &workspace.similarities,
        &workspace.records,
        &positions,
        &weights,
        &similarity,
    ];
    let entries = u64::from(pass.block.count) * u64::from(outputs.k);
    let work = Work { flops: entries * u64::from(outputs.k), bytes: 24 * entries };
    let (weighing, fragments) = weighing(rule);
    let mut constants = with_form(rule, &[("RULE", rule_number(rule))]);
    constants.extend(weighing);
    let setting = Setting { constants, fragments };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
