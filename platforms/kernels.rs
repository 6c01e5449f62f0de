//! Writes every variant of every kernel (or of those that are named) in the language of one compiler, much as wgpu
//! hands it over: `kernels wgsl|spv|hlsl|msl FOLDER [KERNEL ...]`. For `benches/peers/radv.py`, and for trying
//! compilers.

use std::error::Error;
use std::path::Path;

use attractor::internals::{Kernel, Variant};
use harness::kernels::{Linked, validate, variants};
use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(language), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: kernels wgsl|spv|hlsl|msl FOLDER [KERNEL ...]".into());
    };
    let stems: Vec<String> = arguments.collect();
    std::fs::create_dir_all(&folder)?;
    for linked in variants().filter(|one| stems.is_empty() || stems.iter().any(|stem| stem == one.kernel.stem)) {
        let Some(written) = translate(&language, &linked)? else { continue };
        let name = file_name(linked.kernel, linked.variant);
        std::fs::write(Path::new(&folder).join(name).with_extension(&language), written)?;
    }
    Ok(())
}

/// The stem, constants and fragments of a variant.
fn file_name(kernel: &Kernel, variant: &Variant) -> String {
    let constants = variant.constants.iter().map(|(name, value)| format!("{name}_{value}"));
    let fragments = variant.fragments.iter().map(|(_, fragment)| fragment.trim_start_matches("lib/").into());
    let parts: Vec<String> = [kernel.stem.to_owned()].into_iter().chain(constants).chain(fragments).collect();
    parts.join("-")
}

/// A kernel in another language; nothing where that language lacks what the kernel asks for.
fn translate(language: &str, linked: &Linked) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let (text, cooperates) = (&linked.text, linked.cooperates());
    if language == "wgsl" {
        return Ok((!cooperates).then(|| text.as_bytes().to_vec()));
    }
    let (module, info) = validate(&linked.name, text);
    let subgroups = text.contains("subgroup");
    match language {
        "spv" => spirv(&module, &info).map(Some),
        "hlsl" if cooperates => Ok(None),
        "hlsl" => {
            let shader_model = if subgroups { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V5_1 };
            let options = hlsl::Options {
                shader_model,
                zero_initialize_workgroup_memory: false,
                restrict_indexing: false,
                force_loop_bounding: false,
                ..Default::default()
            };
            let mut written = String::new();
            hlsl::Writer::new(&mut written, &options, &hlsl::PipelineOptions::default()).write(&module, &info, None)?;
            Ok(Some(written.into_bytes()))
        }
        "msl" => {
            let lang_version = if cooperates { (2, 3) } else { (2, 0) };
            let options = msl::Options {
                fake_missing_bindings: true,
                lang_version,
                force_loop_bounding: false,
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            };
            let (written, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())?;
            Ok(Some(written.into_bytes()))
        }
        other => Err(format!("{other}: expected wgsl, spv, hlsl or msl").into()),
    }
}

fn spirv(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, Box<dyn Error>> {
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
    let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline))?;
    Ok(bytemuck::cast_slice(&words).to_vec())
}
