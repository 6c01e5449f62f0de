//! Every variant of every kernel as naga reads and writes it: linked, parsed, validated and translated.

use attractor::internals::{KERNELS, Kernel, Variant, link};
use naga::Module;
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// One variant of one kernel.
pub struct Linked {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its constants and fragments.
    pub variant: &'static Variant,
    /// The stem, the constants and the fragments.
    pub name: String,
    /// The WGSL that a device compiles.
    pub text: String,
}

impl Linked {
    /// Whether it multiplies cooperative matrices, which HLSL and GLSL do not have.
    pub fn cooperates(&self) -> bool {
        cooperates(&self.text)
    }
}

/// Every variant of every kernel.
///
/// # Panics
///
/// Where a kernel does not link.
pub fn variants() -> impl Iterator<Item = Linked> {
    KERNELS.iter().flat_map(|kernel| {
        kernel.variants.iter().map(|variant| {
            let name = format!("{} {variant:?}", kernel.stem);
            let text = link(kernel.stem, kernel.source, variant.constants, variant.fragments)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            Linked { kernel, variant, name, text }
        })
    })
}

/// Whether a kernel's text multiplies cooperative matrices.
pub fn cooperates(text: &str) -> bool {
    text.contains("enable wgpu_cooperative_matrix;")
}

/// A kernel's text, parsed.
///
/// # Panics
///
/// Where it is not WGSL.
pub fn parse(name: &str, text: &str) -> Module {
    naga::front::wgsl::parse_str(text).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)))
}

/// A kernel's text, parsed and validated with what the device of its variant has.
///
/// # Panics
///
/// Where it is not valid.
pub fn validate(name: &str, text: &str) -> (Module, ModuleInfo) {
    let module = parse(name, text);
    // What `unpack2x16float` asks for; WebGPU has it without a feature.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
    if cooperates(text) {
        capabilities |= Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    (module, info)
}
