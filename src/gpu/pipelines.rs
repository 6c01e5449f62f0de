//! Compiled kernels, kept per device.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::dispatch::Setting;
use super::handles::Handles;
use super::kernel::{Access, Kernel};
use super::pipeline_cache::PipelineCache;
use super::rate::KernelRate;
use super::shader::{self, Constant, Substitution};
use super::{buffer, module, quirks};
use crate::error::Result;
use crate::sync::lock;

/// A compiled kernel with its constants set.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub stem: &'static str,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// How fast it was seen to go.
    pub rate: KernelRate,
}

/// A stem, its constants and its fragments, and whether it is checked.
type Key = (&'static str, Vec<Constant>, Vec<Substitution>, bool);

/// Watches what kernels do: each is compiled from what `rewrite` makes of its stem and its text, with `buffer` bound
/// for reading and writing behind its own buffers.
pub struct IndexCheck {
    /// What makes the text that is compiled.
    #[expect(clippy::type_complexity, reason = "it is a function")]
    pub rewrite: Box<dyn Fn(&str, &str) -> String + Send + Sync>,
    /// The buffer.
    pub buffer: wgpu::Buffer,
}

impl std::fmt::Debug for IndexCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexCheck").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

/// Compiled pipelines of one device.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    compiled: Mutex<HashMap<Key, Arc<Pipeline>>>,
    /// What they are compiled through.
    pub cache: OnceLock<PipelineCache>,
    /// What watches them.
    pub watch: OnceLock<IndexCheck>,
}

impl Pipelines {
    /// The pipeline of `kernel` in `setting`, compiled on first use.
    pub fn get(
        &self,
        handles: &Handles,
        kernel: &'static Kernel,
        setting: &Setting,
        checked: bool,
    ) -> Result<Arc<Pipeline>> {
        let Setting { constants, fragments } = setting;
        let key = (kernel.stem, constants.clone(), fragments.clone(), checked);
        let mut compiled = lock(&self.compiled);
        if let Some(pipeline) = compiled.get(&key) {
            return Ok(pipeline.clone());
        }
        let text = shader::link(kernel.stem, kernel.source, constants, fragments)?;
        let took = stopwatch();
        let make = || self.compile(handles, kernel, &text, checked);
        let pipeline = Arc::new(buffer::scoped(handles, "compile kernel", make)?);
        log::debug!("attractor: compiled {}{} {constants:?} {fragments:?}", kernel.stem, took());
        compiled.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, handles: &Handles, kernel: &Kernel, text: &str, checked: bool) -> Pipeline {
        let device = &handles.device;
        let label = format!("attractor.{}", kernel.stem);
        let buffer = |binding, ty, has_dynamic_offset, size| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: std::num::NonZeroU64::new(size) },
            count: None,
        };
        let mut entries = vec![buffer(0, wgpu::BufferBindingType::Uniform, true, kernel.params as u64)];
        for (binding, access) in (1..).zip(kernel.storage) {
            let read_only = *access == Access::Read;
            entries.push(buffer(binding, wgpu::BufferBindingType::Storage { read_only }, false, 0));
        }
        let mut text = Cow::from(text);
        if let Some(watch) = self.watch.get() {
            text = (watch.rewrite)(kernel.stem, &text).into();
            entries.push(buffer(entries.len() as u32, wgpu::BufferBindingType::Storage { read_only: false }, false, 0));
        }
        if quirks::compiles_uniforms_in(&handles.adapter) {
            text = quirks::conceal_parameters(&text).into();
        }
        let layout = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let module = module::create(device, &label, &text, checked);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Every kernel writes each word of workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.cache.get().map(|kept| &kept.cache),
        });
        Pipeline { stem: kernel.stem, pipeline, layout, rate: KernelRate::default() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.compiled).len()
    }

    /// The stem, the constants and the fragments of each.
    pub fn settings(&self) -> Vec<(&'static str, Vec<Constant>, Vec<Substitution>)> {
        let compiled = lock(&self.compiled);
        compiled.keys().map(|(stem, constants, fragments, _)| (*stem, constants.clone(), fragments.clone())).collect()
    }

    /// The pipeline of `kernel` in `setting`, if it has been compiled.
    pub fn find(&self, kernel: &'static Kernel, setting: &Setting, checked: bool) -> Option<Arc<Pipeline>> {
        let key = (kernel.stem, setting.constants.clone(), setting.fragments.clone(), checked);
        lock(&self.compiled).get(&key).cloned()
    }
}

/// Tells what has passed since, in words.
#[cfg(not(target_arch = "wasm32"))]
fn stopwatch() -> impl FnOnce() -> String {
    let begun = std::time::Instant::now();
    move || format!(" in {:.1?}", begun.elapsed())
}

/// A browser compiles after the call has returned.
#[cfg(target_arch = "wasm32")]
fn stopwatch() -> impl FnOnce() -> &'static str {
    || ""
}
