//! Kernels as data (a shader, its bindings, the size of its parameters) and their compiled pipelines, kept per device.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::handles::Handles;
use super::pipeline_cache::PipelineCache;
use super::rate::Pace;
use super::shader::{self, Constant, Substitution};
use super::{buffer, module, quirks};
use crate::error::Result;

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
}

/// One shader: binding 0 is its uniform parameters, bindings 1 and up its storage buffers, the first of which is an array of
/// `u32` that it reads.
#[derive(Debug)]
pub struct Kernel {
    /// The stem of its files.
    pub stem: &'static str,
    /// The text of `shaders/{stem}.wgsl`.
    pub source: &'static str,
    /// One entry per storage buffer, from binding 1.
    pub storage: &'static [Access],
    /// The bytes of its `Params`.
    pub params: usize,
    /// Name and byte offset of every field of its `Params`.
    pub fields: &'static [(&'static str, usize)],
    /// Loops in its text, each of which the loop bound of its host file knows. Fragments count their own.
    pub loops: usize,
    /// Settings that the plan may choose; the first is the shader's own.
    pub variants: &'static [Variant],
}

/// A setting of a kernel: constants that the host sets, and fragments that stand in for others.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Constants and their values.
    pub constants: &'static [Constant],
    /// A fragment that the shader names, and the one that is linked instead.
    pub fragments: &'static [Substitution],
}

impl Variant {
    /// The shader as it stands.
    pub const PLAIN: Self = Self { constants: &[], fragments: &[] };
    /// Each way in which rows are stored.
    pub const STORED: [Self; 3] = [
        Self::PLAIN,
        Self { constants: &[], fragments: &[("lib/stored_f32", "lib/stored_f16")] },
        Self { constants: &[], fragments: &[("lib/stored_f32", "lib/stored_i8")] },
    ];
    /// Each way in which a cue is compared with a key, with terms, masks and storage in turn.
    pub const COMPARED: [Self; 5] = [
        Self::PLAIN,
        Self {
            constants: &[("TERMS", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_euclidean"), ("lib/stored_f32", "lib/stored_f16")],
        },
        Self {
            constants: &[("KEEP", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_manhattan"), ("lib/stored_f32", "lib/stored_i8")],
        },
        Self { constants: &[("TERMS", 1)], fragments: &[("lib/stored_f32", "lib/stored_i8")] },
        Self {
            constants: &[("TERMS", 1), ("KEEP", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_euclidean"), ("lib/stored_f32", "lib/stored_i8")],
        },
    ];
    /// Softmax, entmax and top-k.
    pub const RULES: [Self; 3] = [
        Self { constants: &[("RULE", 0)], fragments: &[] },
        Self { constants: &[("RULE", 1)], fragments: &[] },
        Self { constants: &[("RULE", 2)], fragments: &[] },
    ];
}

/// Declares the uniform `Params` of a shader, with its fields listed for the test that compares it with the shader's.
macro_rules! params {
    ($($field:ident: $type:ty,)*) => {
        /// The uniform `Params` of the shader.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            $(pub $field: $type,)*
        }

        impl Params {
            /// With what comes first in every shader's: the base of its grid, and how many queries
            /// there are (`lib/listed`).
            pub const FIELDS: &[(&str, usize)] =
                &[("base", 0), $((stringify!($field), 16 + std::mem::offset_of!(Params, $field)),)*];
            pub const SIZE: usize = 16 + size_of::<Params>();
        }
    };
}
pub(crate) use params;

/// A compiled kernel with its constants set.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub stem: &'static str,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// How fast it was seen to go.
    pub pace: Pace,
}

/// A stem, its constants and its fragments, and whether it is checked.
type Key = (&'static str, Vec<Constant>, Vec<Substitution>, bool);

/// Watches what kernels do: each is compiled from what `rewrite` makes of its stem and its text, with `buffer` bound for
/// reading and writing behind its own buffers.
pub struct Watch {
    /// What makes the text that is compiled.
    #[expect(clippy::type_complexity, reason = "it is a function")]
    pub rewrite: Box<dyn Fn(&str, &str) -> String + Send + Sync>,
    /// The buffer.
    pub buffer: wgpu::Buffer,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

/// Compiled pipelines of one device.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    compiled: Mutex<HashMap<Key, Arc<Pipeline>>>,
    /// What they are compiled through.
    pub cache: OnceLock<PipelineCache>,
    /// What watches them.
    pub watch: OnceLock<Watch>,
}

impl Pipelines {
    /// The pipeline of `kernel` with `constants` set and `fragments` substituted, compiled on first use.
    pub fn get(
        &self,
        handles: &Handles,
        kernel: &'static Kernel,
        constants: &[Constant],
        fragments: &[Substitution],
        checked: bool,
    ) -> Result<Arc<Pipeline>> {
        let key = (kernel.stem, constants.to_vec(), fragments.to_vec(), checked);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
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
        Pipeline { stem: kernel.stem, pipeline, layout, pace: Pace::default() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How fast a pipeline was seen to go, if it has been compiled and timed.
    pub fn pace(
        &self,
        kernel: &'static Kernel,
        constants: &[Constant],
        fragments: &[Substitution],
        checked: bool,
    ) -> Option<f64> {
        let key = (kernel.stem, constants.to_vec(), fragments.to_vec(), checked);
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.get(&key).and_then(|pipeline| pipeline.pace.get())
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
