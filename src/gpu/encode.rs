//! Dispatches into a compute pass.

use std::sync::Arc;

use super::buffer;
use super::context::Context;
use super::schedule::Compiled;
use crate::error::Result;

/// Bytes from one dispatch's parameters to the next: the largest alignment that a device may ask of a uniform offset.
const PARAMS_STRIDE: u64 = 256;

/// Records `dispatches` as one compute pass.
pub(crate) fn encode(
    context: &Context,
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Compiled],
    timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
) -> Result<()> {
    if dispatches.is_empty() {
        return Ok(());
    }
    let timed = timestamps.is_some();
    let params = buffer::create_with(
        context,
        "attractor.params",
        dispatches.len() as u64 * PARAMS_STRIDE,
        wgpu::BufferUsages::UNIFORM,
        Some(|view: &mut wgpu::BufferViewMut| {
            for (i, dispatch) in dispatches.iter().enumerate() {
                let at = i * PARAMS_STRIDE as usize;
                view.slice(at..at + dispatch.params.len()).copy_from_slice(&dispatch.params);
            }
        }),
    )?;
    let mut pass = encoder
        .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("attractor"), timestamp_writes: timestamps });
    // The latest bind group of each kernel: most dispatches repeat the bindings of the dispatch before.
    let mut groups: Vec<(&Compiled, wgpu::BindGroup)> = Vec::new();
    for (i, dispatch) in dispatches.iter().enumerate() {
        let same = |other: &&(&Compiled, wgpu::BindGroup)| {
            Arc::ptr_eq(&other.0.pipeline, &dispatch.pipeline) && other.0.storage == dispatch.storage
        };
        let group = match groups.iter().rev().find(same) {
            Some((_, group)) => group.clone(),
            None => {
                let group = bind(context, dispatch, &params);
                groups.retain(|other| !Arc::ptr_eq(&other.0.pipeline, &dispatch.pipeline));
                groups.push((dispatch, group.clone()));
                group
            }
        };
        pass.set_pipeline(&dispatch.pipeline.pipeline);
        pass.set_bind_group(0, &group, &[(i as u64 * PARAMS_STRIDE) as u32]);
        if i == 0 && timed {
            // Lavapipe takes the time of the beginning when it next comes to a barrier, which is one dispatch late.
            pass.dispatch_workgroups(0, 0, 0);
        }
        pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
    }
    Ok(())
}

fn bind(context: &Context, dispatch: &Compiled, params: &wgpu::Buffer) -> wgpu::BindGroup {
    let size = std::num::NonZeroU64::new(dispatch.params.len() as u64);
    let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset: 0, size });
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform }];
    for (binding, storage) in (1..).zip(&dispatch.storage) {
        entries.push(wgpu::BindGroupEntry { binding, resource: storage.resource() });
    }
    if let Some(watch) = context.pipelines.watch.get() {
        let resource = watch.buffer.as_entire_binding();
        entries.push(wgpu::BindGroupEntry { binding: entries.len() as u32, resource });
    }
    context.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&format!("attractor.{}", dispatch.pipeline.stem)),
        layout: &dispatch.pipeline.layout,
        entries: &entries,
    })
}
