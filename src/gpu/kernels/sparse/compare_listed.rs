//! Host side of `shaders/sparse/compare_listed.wgsl`: the similarities of listed patterns, or their scores.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{ESTIMATED_SUPPORT, LIST_CAPACITY, LIST_TOP, Pass};
use crate::gpu::patterns::StoredRows;
use crate::gpu::workspace::CandidateLists;
use crate::store::Window;

params! {
    capacity: u32,
    stride: u32,
    window_first: u32,
    window_rows: u32,
    source_vectors: u32,
    beta: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "compare_listed",
    source: include_str!("../../../../shaders/sparse/compare_listed.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| sizes.key_vectors.div_ceil(LANES.into()) + u64::from(LANES),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("TERMS", 1)], ..Variant::STORED[1] },
        Variant { constants: &[("TERMS", 1)], ..Variant::STORED[2] },
        Variant { constants: &[], fragments: &[("lib/compare_dot", "lib/compare_euclidean")] },
        Variant { constants: &[], fragments: &[("lib/compare_dot", "lib/compare_manhattan")] },
        Variant { constants: &[("SCORES", 1)], ..Variant::PLAIN },
        Variant { constants: &[("SCORES", 1), ("TERMS", 1), ("BIAS", 0)], ..Variant::PLAIN },
        Variant {
            constants: &[("SCORES", 1), ("TERMS", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_euclidean")],
        },
    ],
};

/// Entries of a list that one workgroup compares.
const ENTRIES: u32 = 8;
/// Invocations that share a pattern.
const LANES: u32 = 8;
/// Floats from one query's similarities to the next's: as many as a list selects.
pub const STRIDE: u32 = LIST_TOP;

/// The similarities of `queries`, which are compared by `compared`, with those of the first `entries` patterns on their
/// lists that are in `window`.
pub fn dispatch(
    pass: &Pass<'_>,
    (compared, queries): (&Binding, &Binding),
    lists: &CandidateLists,
    entries: u32,
    window: &Window<StoredRows>,
) -> Dispatch {
    let setting = Setting::constants([]);
    compare(pass, (compared, queries), lists, [STRIDE, entries, entries], window, setting)
}

/// The scores of `queries`, which are compared by `compared`, with all patterns on their lists of candidates that are
/// in `window`, with room for whole lists.
pub fn scores(pass: &Pass<'_>, (compared, queries): (&Binding, &Binding), window: &Window<StoredRows>) -> Dispatch {
    let mut setting = Setting::constants([("SCORES", 1)]);
    if pass.operands.layout.bias && !pass.operands.biased {
        setting.constants.push(("BIAS", 0));
    }
    let lists = &pass.operands.workspace.candidates;
    let entries = [LIST_CAPACITY, LIST_CAPACITY, ESTIMATED_SUPPORT];
    compare(pass, (compared, queries), lists, entries, window, setting)
}

/// What of the first `most` entries of each list is in `window`, estimated at `entries`, `stride` floats from one
/// query's to the next's.
fn compare(
    pass: &Pass<'_>,
    (compared, queries): (&Binding, &Binding),
    lists: &CandidateLists,
    [stride, most, entries]: [u32; 3],
    window: &Window<StoredRows>,
    mut setting: Setting,
) -> Dispatch {
    let (keys, vectors) = (&window.storage.keys, pass.operands.problem.key_vectors);
    let params = Params {
        capacity: LIST_CAPACITY,
        stride,
        window_first: window.first as u32,
        window_rows: window.rows as u32,
        source_vectors: vectors,
        beta: pass.beta(),
        padding: [0; 2],
    };
    let terms = window.storage.terms.as_ref();
    let similarities = &pass.operands.workspace.similarities;
    let storage = [queries, compared, keys, terms.unwrap_or(keys), &lists.heads, &lists.list, similarities];
    let pairs = u64::from(pass.block.count) * u64::from(entries);
    let work = Work { flops: pairs * 8 * u64::from(vectors), bytes: pairs * (12 + pass.stored_bytes(vectors)) };
    setting.constants.push(("TERMS", terms.is_some().into()));
    setting.fragments = pass.compared_fragments();
    let grid = [most.div_ceil(ENTRIES), pass.block.count, 1];
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
