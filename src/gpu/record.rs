//! Dispatches as a list: built first, so that it can be counted and cut, and encoded afterwards. A long list is handed on
//! in pieces while it is built, so that what is recorded takes no more room for a larger memory.

use std::sync::Arc;

use super::Context;
use super::buffer::{self, Binding};
use super::kernel::{Kernel, Pipeline};
use super::shader::{Constant, Substitution};
use crate::error::Result;
use crate::explanation::KernelWork;

/// Bytes from one dispatch's parameters to the next: the largest alignment that a device may ask of a uniform offset.
const PARAMS_STRIDE: u64 = 256;

/// Dispatches of one piece, at the most.
const PIECE: usize = 256;

/// One dispatch.
pub(crate) struct Call {
    pipeline: Arc<Pipeline>,
    storage: Vec<Binding>,
    params: Vec<u8>,
    grid: [u32; 3],
}

/// What one dispatch does: floating-point operations, and bytes that workgroups load and store, each datum once a
/// workgroup.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub flops: u64,
    pub bytes: u64,
}

impl Work {
    /// Multiply-adds and words: what is cut by.
    fn cost(self) -> u64 {
        (self.flops / 2).saturating_add(self.bytes / 4)
    }
}

/// The dispatches of one recording, in order.
pub(crate) struct Calls<'a> {
    context: &'a Context,
    damage: Option<(&'static str, Constant)>,
    calls: Vec<Call>,
    /// The most that the dispatches of one piece may cost together; one piece is all where absent.
    most: Option<u64>,
    /// Dispatches of the piece at hand, and their cost.
    length: usize,
    cost: u64,
    to: To<'a>,
}

/// What becomes of dispatches.
enum To<'a> {
    /// They are kept.
    Keep,
    /// Whole pieces are handed on.
    HandOn(HandOn<'a>),
    /// They are only counted: the work by kernel and setting, and the pieces.
    Count { kernels: Vec<KernelWork>, pieces: usize },
}

type HandOn<'a> = Box<dyn FnMut(&[Call]) -> Result<()> + 'a>;

/// Folds a grid that is longer than one dimension may be; kernels that use it call `flat_index`.
pub(crate) fn fold(workgroups: u32, limit: u32) -> [u32; 3] {
    let rows = workgroups.div_ceil(limit).max(1);
    [workgroups.div_ceil(rows), rows, 1]
}

impl<'a> Calls<'a> {
    /// An empty list that is kept whole.
    pub fn new(context: &'a Context, damage: Option<(&'static str, Constant)>) -> Self {
        Self { context, damage, calls: Vec::new(), most: None, length: 0, cost: 0, to: To::Keep }
    }

    /// An empty list that hands on what it has whenever its next dispatch would make it cost more than `most`.
    pub fn cut(
        context: &'a Context,
        damage: Option<(&'static str, Constant)>,
        most: u64,
        hand_on: impl FnMut(&[Call]) -> Result<()> + 'a,
    ) -> Self {
        Self { most: Some(most), to: To::HandOn(Box::new(hand_on)), ..Self::new(context, damage) }
    }

    /// A list that only counts, as if it were cut at `most`. Nothing is compiled for it.
    pub fn counted(context: &'a Context, most: u64) -> Self {
        let to = To::Count { kernels: Vec::new(), pieces: 1 };
        Self { most: Some(most), to, ..Self::new(context, None) }
    }

    /// The work by kernel and setting, and the number of pieces, of a list that only counts.
    pub fn counts(self) -> (Vec<KernelWork>, usize) {
        match self.to {
            To::Count { kernels, pieces } => (kernels, pieces),
            To::Keep | To::HandOn(_) => (Vec::new(), 0),
        }
    }

    /// Appends a dispatch of `kernel`.
    pub fn push<P: bytemuck::Pod>(
        &mut self,
        kernel: &'static Kernel,
        setting: (&[Constant], &[Substitution]),
        params: P,
        storage: &[&Binding],
        grid: [u32; 3],
        work: Work,
    ) -> Result<()> {
        debug_assert_eq!(kernel.params, size_of::<P>());
        debug_assert_eq!(kernel.storage.len(), storage.len());
        let mut constants = setting.0.to_vec();
        if let Some((stem, (name, value))) = self.damage
            && stem == kernel.stem
        {
            constants.retain(|(constant, _)| *constant != name);
            constants.push((name, value));
        }
        let cost = work.cost();
        let full = |most: u64| self.length == PIECE || self.cost.saturating_add(cost) > most;
        if self.length > 0 && self.most.is_some_and(full) {
            match &mut self.to {
                To::Keep => {}
                To::HandOn(hand_on) => {
                    hand_on(&self.calls)?;
                    self.calls.clear();
                }
                To::Count { pieces, .. } => *pieces += 1,
            }
            (self.length, self.cost) = (0, 0);
        }
        self.length += 1;
        self.cost = self.cost.saturating_add(cost);
        if let To::Count { kernels, .. } = &mut self.to {
            let one = KernelWork {
                kernel: kernel.stem,
                setting: in_words(&constants, setting.1),
                dispatches: 1,
                workgroups: grid.into_iter().map(u64::from).product(),
                bytes: work.bytes,
                flops: work.flops,
            };
            one.add_to(kernels);
            return Ok(());
        }
        let pipeline = self.context.pipelines.get(self.context.device(), kernel, &constants, setting.1)?;
        let params = bytemuck::bytes_of(&params).to_vec();
        let storage = storage.iter().map(|binding| (*binding).clone()).collect();
        self.calls.push(Call { pipeline, storage, params, grid });
        Ok(())
    }

    /// What has not been handed on.
    pub fn rest(self) -> Vec<Call> {
        self.calls
    }
}

/// Constants that are set and fragments that are linked, for people.
fn in_words(constants: &[Constant], fragments: &[Substitution]) -> String {
    let constants = constants.iter().map(|(name, value)| format!("{name} {value}"));
    let fragments = fragments.iter().map(|(_, fragment)| fragment.trim_start_matches("lib/").to_owned());
    constants.chain(fragments).collect::<Vec<_>>().join(", ")
}

/// Records `calls` as one compute pass.
pub(crate) fn encode(context: &Context, encoder: &mut wgpu::CommandEncoder, calls: &[Call]) -> Result<()> {
    let device = context.device();
    let params = buffer::create_with(
        device,
        "attractor.params",
        calls.len() as u64 * PARAMS_STRIDE,
        wgpu::BufferUsages::UNIFORM,
        Some(|view: &mut wgpu::BufferViewMut| {
            for (i, call) in calls.iter().enumerate() {
                let at = i * PARAMS_STRIDE as usize;
                view.slice(at..at + call.params.len()).copy_from_slice(&call.params);
            }
        }),
    )?;
    let mut pass =
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("attractor"), timestamp_writes: None });
    // The latest bind group of each kernel: most calls repeat the bindings of the call before.
    let mut groups: Vec<(&Call, wgpu::BindGroup)> = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let same = |other: &&(&Call, wgpu::BindGroup)| {
            Arc::ptr_eq(&other.0.pipeline, &call.pipeline) && other.0.storage == call.storage
        };
        let group = match groups.iter().rev().find(same) {
            Some((_, group)) => group.clone(),
            None => {
                let group = bind(device, call, &params);
                groups.retain(|other| !Arc::ptr_eq(&other.0.pipeline, &call.pipeline));
                groups.push((call, group.clone()));
                group
            }
        };
        pass.set_pipeline(&call.pipeline.pipeline);
        pass.set_bind_group(0, &group, &[(i as u64 * PARAMS_STRIDE) as u32]);
        pass.dispatch_workgroups(call.grid[0], call.grid[1], call.grid[2]);
    }
    Ok(())
}

fn bind(device: &wgpu::Device, call: &Call, params: &wgpu::Buffer) -> wgpu::BindGroup {
    let size = std::num::NonZeroU64::new(call.params.len() as u64);
    let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset: 0, size });
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform }];
    for (binding, storage) in (1..).zip(&call.storage) {
        entries.push(wgpu::BindGroupEntry { binding, resource: storage.resource() });
    }
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&format!("attractor.{}", call.pipeline.stem)),
        layout: &call.pipeline.layout,
        entries: &entries,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn folded_grids_cover_and_fit() {
        for workgroups in [1, 2, 65_535, 65_536, 100_003, 1 << 24] {
            let [x, y, z] = super::fold(workgroups, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(u64::from(x) * u64::from(y) >= u64::from(workgroups));
        }
    }
}
