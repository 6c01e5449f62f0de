//! Dispatches as a list: built first, so that it can be counted, cut and explained, and encoded afterwards.

use std::sync::Arc;

use super::Context;
use super::buffer::{self, Binding};
use super::kernel::{Kernel, Pipeline};
use super::shader::{Constant, Substitution};
use crate::error::Result;

/// Bytes from one dispatch's parameters to the next: the largest alignment that a device may ask of a uniform offset.
const PARAMS_STRIDE: u64 = 256;

/// One dispatch.
struct Call {
    pipeline: Arc<Pipeline>,
    storage: Vec<Binding>,
    params: Vec<u8>,
    grid: [u32; 3],
    /// Multiply-adds and loads, roughly: what cutting into submissions goes by.
    cost: u64,
}

/// The dispatches of one recording, in order.
pub(crate) struct Calls<'a> {
    context: &'a Context,
    damage: Option<(&'static str, Constant)>,
    calls: Vec<Call>,
}

/// Folds a grid that is longer than one dimension may be; kernels that use it call `flat_index`.
pub(crate) fn fold(workgroups: u32, limit: u32) -> [u32; 3] {
    let rows = workgroups.div_ceil(limit).max(1);
    [workgroups.div_ceil(rows), rows, 1]
}

impl<'a> Calls<'a> {
    pub fn new(context: &'a Context, damage: Option<(&'static str, Constant)>) -> Self {
        Self { context, damage, calls: Vec::new() }
    }

    /// Appends a dispatch of `kernel`.
    pub fn push<P: bytemuck::Pod>(
        &mut self,
        kernel: &'static Kernel,
        setting: (&[Constant], &[Substitution]),
        params: P,
        storage: &[&Binding],
        grid: [u32; 3],
        cost: u64,
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
        let pipeline = self.context.pipelines.get(self.context.device(), kernel, &constants, setting.1)?;
        let params = bytemuck::bytes_of(&params).to_vec();
        let storage = storage.iter().map(|binding| (*binding).clone()).collect();
        self.calls.push(Call { pipeline, storage, params, grid, cost });
        Ok(())
    }

    /// Cuts the list where the cost since the last cut passes `most`: ranges of calls, for one submission each.
    pub fn cut(&self, most: u64) -> Vec<std::ops::Range<usize>> {
        let mut ranges = Vec::new();
        let (mut start, mut cost) = (0, 0u64);
        for (i, call) in self.calls.iter().enumerate() {
            if i > start && cost.saturating_add(call.cost) > most {
                ranges.push(start..i);
                (start, cost) = (i, 0);
            }
            cost = cost.saturating_add(call.cost);
        }
        ranges.push(start..self.calls.len());
        ranges
    }

    /// The number of dispatches.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Records the calls of `range` as one compute pass.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, range: std::ops::Range<usize>) -> Result<()> {
        let calls = &self.calls[range];
        let device = self.context.device();
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
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("attractor"), timestamp_writes: None });
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
