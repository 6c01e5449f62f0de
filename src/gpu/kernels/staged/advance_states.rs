//! Host side of `shaders/staged/advance_states.wgsl`: the end of a step whose next state is more than a weighted mean.

use super::update_states::{self, STOPPED};
use crate::draw::{moving_block, permuted};
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::operands::{KernelRule, Sums};
use crate::gpu::shader::Constant;
use crate::rule::{Activation, Separation, Update, Zero};

params! {
    columns: u32,
    key_columns: u32,
    result_from: u32,
    slot: u32,
    step: u32,
    stamp: u32,
    known_first: u32,
    known_stride: u32,
    tolerance: f32,
    stops_early: u32,
    dim: u32,
    field_at: u32,
    beta_at: u32,
    first_query: u32,
    gain: f32,
    carry: f32,
    damping: f32,
    beta: f32,
    divisor: f32,
    largest: f32,
    steepest: f32,
    sharpness: f32,
    seed: u32,
    moving: u32,
    inverse: u32,
    rotation: u32,
    most: u32,
    fresh: u32,
    width: u32,
    groups: u32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "advance_states",
    source: include_str!("../../../../shaders/staged/advance_states.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 13,
    iterations: |sizes| iterations(sizes.columns.into()),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("NORMALIZED", 0), ("OWN", 1), ("ACTIVATION", 1), ("CLAMP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("OWN", 2), ("ACTIVATION", 2), ("BETAS", 1), ("FIELD", 1)], ..Variant::PLAIN },
        Variant { constants: &[("NORMALIZED", 0), ("ACTIVATION", 3), ("BLOCKS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("SOFTMAX1", 1), ("ACTIVATION", 4), ("BLOCKS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 5)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 6)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 7)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 8)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 9)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 8), ("SHARED", 1)], ..Variant::PLAIN },
        Variant { constants: &[("ACTIVATION", 9), ("SHARED", 1)], ..Variant::PLAIN },
    ],
};

/// Status bit: the states of the query come back, and would for ever.
pub const CYCLE: u32 = 64;
/// From which bit on the flags of such a query have its last step.
pub const LAST_STEP: u32 = 12;
/// Invocations of a workgroup.
const LANES: u32 = 64;
/// Temperatures below this are taken for it: what is as small is as good as zero.
const COLDEST: f64 = 1e-30;

/// Loop iterations of one invocation over rows of `columns` vectors.
fn iterations(columns: u64) -> u64 {
    let row = (4 * columns).div_ceil(LANES.into());
    // The row four times, and its blocks: one an invocation with three passes over it, or a few at which all are, with
    // two reductions of six iterations each.
    let blocks = 4 * row + 192;
    4 * row + 4 * 6 + blocks.max(4 * columns / u64::from(LANES) * (1 + 3 + 12) + 3 * row)
}

/// What `shaders/staged/advance_states.wgsl` calls an activation, and the width of its blocks.
fn activation_of(update: &Update) -> (u32, u32) {
    match update.activation {
        Activation::None => (0, 1),
        Activation::Sign { .. } if update.temperature > 0.0 => (4, 1),
        Activation::Sign { zero: Zero::Keep } => (1, 1),
        Activation::Sign { zero: Zero::Plus } => (2, 1),
        Activation::Sign { zero: Zero::Zero } => (3, 1),
        Activation::Tanh => (5, 1),
        Activation::Normalize => (6, 1),
        Activation::Phasor => (7, 2),
        Activation::SoftmaxBlocks { width } => (8, width as u32),
        Activation::ArgmaxBlocks { width } => (9, width as u32),
    }
}

/// The numbers by which multiples of `blocks` are told, which is an odd number times a power of two: the inverse of the
/// odd number among words, by how many bits products turn, and what a multiple is turned into at most.
fn divisibility(blocks: u32) -> [u32; 3] {
    let rotation = blocks.trailing_zeros();
    let odd = blocks >> rotation;
    // Each step doubles the bits that are right, of which there are three to begin with.
    let inverse = (0..4).fold(odd, |inverse, _| inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse))));
    [inverse, rotation, u32::MAX / blocks]
}

/// What an update ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Whether its state is compared with no keys.
    pub last: bool,
    /// Whether it is the first and the last of those whose change counts together: of a sweep over blocks of
    /// coordinates, or of an iteration of a network.
    pub begins: bool,
    pub ends: bool,
}

/// The end of the pass's update for `queries`, whose statistics are in `slot`.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, sums: Sums, slot: u32, ending: Ending) -> Dispatch {
    let Ending { last, begins, ends } = ending;
    let operands = pass.operands;
    let (rule, update, known) = (operands.kernel_rule(), &operands.rule.update, operands.known.as_ref());
    let (columns, key_columns, result_from) = update_states::columns(operands, sums);
    let (activation, width) = activation_of(update);
    let [inverse, rotation, most] = divisibility(update.blocks);
    let stride = known.map_or(0, |known| known.stride);
    let temperature = f64::from(update.temperature).max(COLDEST);
    let params = Params {
        columns: 4 * columns,
        key_columns: 4 * key_columns,
        result_from: 4 * result_from,
        slot,
        step: pass.step,
        stamp: operands.stamp,
        known_first: pass.block.first * stride,
        known_stride: stride,
        tolerance: operands.tolerance,
        stops_early: operands.stops_early.into(),
        dim: operands.layout.dim as u32,
        field_at: known.and_then(|known| known.field).unwrap_or(0),
        beta_at: known.and_then(|known| known.beta).unwrap_or(0),
        first_query: operands.first_query + pass.block.first,
        gain: update.gain,
        carry: update.carry,
        damping: update.damping,
        beta: pass.beta(),
        divisor: rule.divisor(),
        largest: if last { f32::MAX } else { operands.query_range.largest },
        // Beyond, a logistic is 0 or 1.
        steepest: (40.0 * temperature).min(1e38) as f32,
        sharpness: (2.0 / temperature) as f32,
        seed: permuted(update.seed),
        moving: moving_block(update.blocks, update.seed, pass.step),
        inverse,
        rotation,
        most,
        fresh: u32::from(begins) + 2 * u32::from(ends),
        width,
        groups: if key_columns > 0 { operands.layout.dim as u32 / width } else { 0 },
        padding: [0; 2],
    };
    let workspace = &operands.workspace;
    let storage = [
        queries,
        &workspace.running_stats,
        &workspace.running_sums,
        known.map_or(queries, |known| &known.words),
        &workspace.flags,
        &workspace.state,
        &workspace.result,
        &workspace.report,
    ];
    let softmax = operands.rule.separation == Separation::Softmax;
    let own = match (operands.decouples, softmax) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    let on = |name, is: bool| -> Option<Constant> { is.then_some((name, 1)) };
    let mut constants: Vec<Constant> = vec![("ACTIVATION", activation), ("OWN", own)];
    let unnormalized = matches!(rule, KernelRule::Unnormalized { .. });
    constants.extend(unnormalized.then_some(("NORMALIZED", 0)));
    constants.extend(on("SOFTMAX1", operands.rule.separation == Separation::Softmax1));
    constants.extend(on("CLAMP", known.is_some_and(|known| known.clamped)));
    constants.extend(on("FIELD", known.is_some_and(|known| known.field.is_some())));
    constants.extend(on("BETAS", known.is_some_and(|known| known.beta.is_some())));
    constants.extend(on("BLOCKS", update.blocks > 1));
    constants.extend(on("SHARED", activation >= 8 && width > LANES));
    let vectors = u64::from(pass.block.count) * u64::from(sums.columns());
    let work = Work { flops: 48 * vectors, bytes: 96 * vectors };
    pass.dispatch(&KERNEL, Setting::constants(constants), &params, &storage, [pass.block.count, 1, 1], work)
}

const _: () = assert!(CYCLE > STOPPED && CYCLE < 1 << LAST_STEP);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_told_without_a_division() {
        for blocks in [1u32, 2, 3, 5, 6, 7, 12, 64, 100, 97, 1000, 65_535, 65_536, 1 << 24, (1 << 24) - 1] {
            let [inverse, rotation, most] = divisibility(blocks);
            for n in (0..2000u32).chain(65_000..65_536) {
                let is = n.wrapping_mul(inverse).rotate_right(rotation) <= most;
                assert_eq!(is, n.is_multiple_of(blocks), "{n} of {blocks}");
            }
        }
    }
}
