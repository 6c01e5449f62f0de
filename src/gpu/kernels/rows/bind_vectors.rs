//! Host side of `shaders/rows/bind_vectors.wgsl`: products of the vectors of a network.

use crate::factor::Factor;
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;

params! {
    vectors: u32,
    largest: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "bind_vectors",
    source: include_str!("../../../../shaders/rows/bind_vectors.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.key_vectors),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("COUNT", 3), ("COMPLEX", 1), ("CONJUGATED", 6)], ..Variant::PLAIN },
        Variant { constants: &[("COUNT", 4)], ..Variant::PLAIN },
        Variant { constants: &[("COUNT", 2), ("STARTED", 1)], ..Variant::PLAIN },
    ],
};

/// Factors of one dispatch.
const FACTORS: usize = 4;
/// The largest magnitude of which four factors, multiplied as complex numbers, are finite.
const LARGEST: f32 = 1e9;

/// Loop iterations of one invocation.
fn iterations(vectors: u64) -> u64 {
    vectors.div_ceil(64) + 64
}

/// The product of `factors`, each of which `vectors` has, for `queries`, into `product`.
pub fn dispatches(
    pass: &Pass<'_>,
    queries: &Binding,
    vectors: &[Binding],
    (factors, complex): (&[Factor], bool),
    product: &Binding,
) -> Vec<Dispatch> {
    let workspace = &pass.operands.workspace;
    let key_vectors = pass.operands.problem.key_vectors;
    let params =
        Params { vectors: key_vectors, largest: pass.operands.query_range.largest.min(LARGEST), padding: [0; 2] };
    let parts = factors.chunks(FACTORS).enumerate();
    parts
        .map(|(number, part)| {
            let vector = |place: usize| &vectors[part.get(place).unwrap_or(&part[0]).vector];
            let storage = [queries, vector(0), vector(1), vector(2), vector(3), product, &workspace.flags];
            let conjugated: u32 = part.iter().zip(0..).map(|(factor, bit)| u32::from(factor.conjugated) << bit).sum();
            let setting = Setting::constants([
                ("COUNT", part.len() as u32),
                ("COMPLEX", u32::from(complex)),
                ("CONJUGATED", conjugated),
                ("STARTED", u32::from(number > 0)),
            ]);
            let bound = u64::from(pass.block.count) * u64::from(key_vectors);
            let work = Work { flops: 16 * bound, bytes: 16 * (2 + part.len() as u64) * bound };
            pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
        })
        .collect()
}
