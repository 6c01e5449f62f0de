//! Writes every variant of every kernel (or of those that are named) as SPIR-V, much as `wgpu` hands it to a Vulkan driver,
//! for `radv.py` to compile.

use std::path::Path;

use attractor::internals::{KERNELS, link};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: spirv FOLDER [KERNEL ...]")?;
    let stems: Vec<String> = arguments.collect();
    // Buffers are bounded by the driver's robust access, the rest by naga.
    let bounds = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: BoundsCheckPolicy::Unchecked,
        image_load: BoundsCheckPolicy::Unchecked,
        binding_array: BoundsCheckPolicy::Unchecked,
    };
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: bounds,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    for kernel in KERNELS.iter().filter(|kernel| stems.is_empty() || stems.iter().any(|stem| stem == kernel.stem)) {
        let source = std::fs::read_to_string(format!("shaders/{}.wgsl", kernel.stem))?;
        for variant in kernel.variants {
            let text = link(kernel.stem, &source, variant.constants, variant.fragments)?;
            let module = naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))?;
            let info = Validator::new(
                ValidationFlags::all(),
                Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP,
            )
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)?;
            let pipeline =
                spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
            let words = spv::write_vec(&module, &info, &options, Some(&pipeline))?;
            let constants = variant.constants.iter().map(|(name, value)| format!("{name}_{value}"));
            let fragments = variant.fragments.iter().map(|(_, fragment)| fragment.trim_start_matches("lib/").into());
            let name: Vec<String> = [kernel.stem.to_owned()].into_iter().chain(constants).chain(fragments).collect();
            std::fs::write(
                Path::new(&folder).join(name.join("-")).with_extension("spv"),
                bytemuck::cast_slice(&words),
            )?;
        }
    }
    Ok(())
}
