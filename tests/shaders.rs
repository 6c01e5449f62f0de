//! Every kernel in every variant, without a GPU: linked, parsed, validated, compared with its host file, and written as
//! SPIR-V, MSL, HLSL and GLSL.

use attractor::internals::{Access, KERNELS, Kernel, link};
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// WebGPU's default limits, less what the drivers may add.
const WORKGROUP_BYTES: u32 = 14 << 10;
const INVOCATIONS: u32 = 256;
/// What NVIDIA's driver lets a workgroup share: for kernels of cooperative matrices, which only hardware has.
const COOPERATIVE_BYTES: u32 = 48 << 10;
const STORAGE_BUFFERS: usize = 8;

/// Whether a kernel multiplies cooperative matrices, which HLSL and GLSL do not have.
fn cooperates(kernel: &Kernel) -> bool {
    kernel.source.contains("enable wgpu_cooperative_matrix;")
}

fn for_each_variant(mut check: impl FnMut(&str, &Kernel, &naga::Module, &ModuleInfo)) {
    for kernel in KERNELS {
        for variant in kernel.variants {
            let name = format!("{} {variant:?}", kernel.stem);
            let text = link(kernel.stem, kernel.source, variant.constants, variant.fragments).unwrap();
            let module = naga::front::wgsl::parse_str(&text)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
            // What `unpack2x16float` asks for; WebGPU has it without a feature.
            let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
            if cooperates(kernel) {
                capabilities |= Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
            }
            let info = Validator::new(ValidationFlags::all(), capabilities)
                .subgroup_stages(ShaderStages::COMPUTE)
                .subgroup_operations(SubgroupOperationSet::all())
                .validate(&module)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
            check(&name, kernel, &module, &info);
        }
    }
}

#[test]
fn bindings_and_params_match_the_host_files() {
    for_each_variant(|name, kernel, module, _| {
        let mut storage = 0;
        let mut uniform = 0;
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = variable.binding else { continue };
            assert_eq!(binding.group, 0, "{name}");
            match variable.space {
                naga::AddressSpace::Uniform => {
                    uniform += 1;
                    assert_eq!(binding.binding, 0, "{name}");
                    let naga::TypeInner::Struct { members, span } = &module.types[variable.ty].inner else {
                        panic!("{name}: params are a struct");
                    };
                    assert_eq!(*span as usize, kernel.params, "{name}: size of Params");
                    let fields = |of: Vec<(String, usize)>| {
                        of.into_iter().filter(|(name, _)| !name.starts_with("padding")).collect::<Vec<_>>()
                    };
                    let shader = members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect();
                    let host = kernel.fields.iter().map(|(name, offset)| (name.to_string(), *offset)).collect();
                    assert_eq!(fields(shader), fields(host), "{name}: fields of Params");
                }
                naga::AddressSpace::Storage { access } => {
                    storage += 1;
                    let host = kernel.storage[binding.binding as usize - 1];
                    let writes = access.contains(naga::StorageAccess::STORE);
                    assert_eq!(writes, host == Access::Write, "{name}: access of binding {}", binding.binding);
                }
                other => panic!("{name}: a binding in {other:?}"),
            }
        }
        assert_eq!((uniform, storage), (1, kernel.storage.len()), "{name}");
        assert!(storage <= STORAGE_BUFFERS, "{name}");
    });
}

#[test]
fn workgroups_fit_the_default_limits() {
    for_each_variant(|name, kernel, module, _| {
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        let most = if cooperates(kernel) { COOPERATIVE_BYTES } else { WORKGROUP_BYTES };
        assert!(bytes <= most, "{name}: {bytes} bytes of workgroup memory");
        assert_eq!(module.entry_points.len(), 1, "{name}");
        let size = module.entry_points[0].workgroup_size;
        assert!(size.iter().product::<u32>() <= INVOCATIONS, "{name}: {size:?} invocations");
    });
}

#[test]
fn every_backend_can_write_them() {
    for_each_variant(|name, kernel, module, info| {
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        let spirv =
            spv::write_vec(module, info, &options, None).unwrap_or_else(|error| panic!("{name}: SPIR-V: {error}"));
        assert_eq!(spirv[0], 0x0723_0203, "{name}");

        let lang_version = if cooperates(kernel) { (2, 3) } else { (2, 0) };
        let options = msl::Options { fake_missing_bindings: true, lang_version, ..Default::default() };
        let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{name}: MSL: {error}"));
        assert!(text.contains("kernel void"), "{name}: {text}");
        if cooperates(kernel) {
            return;
        }

        let mut text = String::new();
        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, ..Default::default() };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(module, info, None)
            .unwrap_or_else(|error| panic!("{name}: HLSL: {error}"));
        assert!(text.contains("numthreads"), "{name}: {text}");

        let mut text = String::new();
        let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
        let pipeline = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        glsl::Writer::new(&mut text, module, info, &options, &pipeline, naga::proc::BoundsCheckPolicies::default())
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|error| panic!("{name}: GLSL: {error}"));
        assert!(text.contains("local_size_x"), "{name}: {text}");
        assert!(!kernel.variants.is_empty());
    });
}

#[test]
fn fragments_declare_no_bindings_and_use_no_other() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/lib");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("@binding") && !text.contains("//! use"), "{}", path.display());
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn every_shader_belongs_to_a_kernel() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut stems: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    stems.sort();
    let mut kernels: Vec<&str> = KERNELS.iter().map(|kernel| kernel.stem).collect();
    kernels.sort_unstable();
    assert_eq!(stems, kernels);
}
