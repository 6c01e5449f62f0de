//! Every kernel in every variant, without a GPU: linked, parsed, validated, compared with its host file, and written as
//! SPIR-V, MSL, HLSL and GLSL.

use attractor::internals::{Access, FRAGMENTS, KERNELS, Kernel, link};
use harness::kernels::{cooperates, validate, variants};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;

/// WebGPU's default limits, less what the drivers may add.
const WORKGROUP_BYTES: u32 = 14 << 10;
const INVOCATIONS: u32 = 256;
/// What NVIDIA's driver lets a workgroup share: for kernels of cooperative matrices, which only hardware has.
const COOPERATIVE_BYTES: u32 = 48 << 10;
const STORAGE_BUFFERS: usize = 8;

/// The least version of Metal's language that has what a kernel asks for.
fn msl_version(kernel: &Kernel) -> (u8, u8) {
    if cooperates(kernel.source) { (2, 3) } else { (2, 0) }
}

fn for_each_variant(mut check: impl FnMut(&str, &Kernel, &naga::Module, &ModuleInfo)) {
    for variant in variants() {
        let (module, info) = validate(&variant.name, &variant.text);
        check(&variant.name, variant.kernel, &module, &info);
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
        let most = if cooperates(kernel.source) { COOPERATIVE_BYTES } else { WORKGROUP_BYTES };
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

        let lang_version = msl_version(kernel);
        let options = msl::Options { fake_missing_bindings: true, lang_version, ..Default::default() };
        let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{name}: MSL: {error}"));
        assert!(text.contains("kernel void"), "{name}: {text}");
        if cooperates(kernel.source) {
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
        glsl::Writer::new(&mut text, module, info, &options, &pipeline, BoundsCheckPolicies::default())
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

/// Lists of queries may be another retrieval's: `lib/listed` clamps what they say.
#[test]
fn lists_are_read_by_one_fragment() {
    for kernel in KERNELS {
        assert!(!kernel.source.contains("queries["), "{}", kernel.stem);
    }
}

#[test]
fn every_shader_belongs_to_a_kernel() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found = Vec::new();
    for group in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(group.is_dir(), "{} is in no group", group.display());
        if group.ends_with("lib") {
            continue;
        }
        for path in std::fs::read_dir(group).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let of = KERNELS.iter().filter(|kernel| kernel.source == text && kernel.stem.ends_with(stem));
            found.extend(of.map(|kernel| kernel.stem));
            assert!(!found.is_empty(), "{} belongs to no kernel", path.display());
        }
    }
    found.sort_unstable();
    let mut kernels: Vec<&str> = KERNELS.iter().map(|kernel| kernel.stem).collect();
    kernels.sort_unstable();
    assert_eq!(found, kernels);
}

/// A shader or fragment that gains a loop must change the loop bounds of the host files that stand for it, and then
/// their count of loops.
#[test]
fn loop_bounds_know_every_loop() {
    let loops = |text: &str| text.matches("for (").count();
    for kernel in KERNELS {
        assert_eq!(loops(kernel.source), kernel.loops, "{}: update its loop bound, then `loops`", kernel.stem);
    }
    for fragment in FRAGMENTS {
        let known = fragment.loops;
        assert_eq!(loops(fragment.source), known, "{}: update the loop bounds of its kernels", fragment.name);
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/lib");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), FRAGMENTS.len(), "every fragment is known");
}

/// Instructions of a SPIR-V module that `which` takes, by opcode and operands.
fn instructions(words: &[u32], which: impl Fn(u32, &[u32]) -> bool) -> usize {
    let (mut rest, mut count) = (&words[5..], 0);
    while let [first, ..] = rest {
        let (instruction, others) = rest.split_at((first >> 16) as usize);
        count += usize::from(which(first & 0xffff, &instruction[1..]));
        rest = others;
    }
    count
}

/// What wgpu writes into a shader that it does not trust is nowhere in ours: no length of a buffer is asked for, no index
/// is clamped and no loop is counted but by the shader itself.
#[test]
fn no_checks_remain() {
    const ARRAY_LENGTH: u32 = 68;
    const ALL: u32 = 155;
    const EXTENDED: u32 = 12;
    const UNSIGNED_MIN: u32 = 38;
    // HLSL clamps indices into arrays of fixed length alone, which not every kernel has.
    let mut restricted = 0;
    for_each_variant(|name, kernel, module, info| {
        let policies = |policy| BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() };
        let [checked, trusted] = [true, false].map(|checks| {
            let policies = policies(if checks { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked });
            let options = spv::Options {
                lang_version: (1, 3),
                bounds_check_policies: policies,
                force_loop_bounding: checks,
                emit_int_div_checks: checks,
                ..Default::default()
            };
            let spirv = spv::write_vec(module, info, &options, None).unwrap();
            let lengths = instructions(&spirv, |opcode, _| opcode == ARRAY_LENGTH);
            let loops = instructions(&spirv, |opcode, _| opcode == ALL);
            let clamps = instructions(&spirv, |opcode, operands| opcode == EXTENDED && operands[3] == UNSIGNED_MIN);

            let options = msl::Options {
                fake_missing_bindings: true,
                lang_version: msl_version(kernel),
                bounds_check_policies: policies,
                force_loop_bounding: checks,
                emit_int_div_checks: checks,
                ..Default::default()
            };
            let (msl, _) = msl::write_string(module, info, &options, &Default::default()).unwrap();
            let options = hlsl::Options {
                shader_model: hlsl::ShaderModel::V6_0,
                restrict_indexing: checks,
                force_loop_bounding: checks,
                ..Default::default()
            };
            let mut text = String::new();
            if !cooperates(kernel.source) {
                hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
                    .write(module, info, None)
                    .unwrap();
            }
            let counted = |text: &str| text.matches("loop_bound").count();
            let clamped = msl.matches("metal::min(unsigned(").count() + msl.matches("(_buffer_sizes.").count();
            // The shader's own are `min(` of an expression, not of a conversion.
            let restricted = text.matches("[min(uint(").count() + text.matches("GetDimensions").count();
            [lengths, loops, clamps, counted(&msl), counted(&text), clamped, restricted]
        });
        let own = module
            .functions
            .iter()
            .map(|(handle, function)| (function, &info[handle]))
            .chain([(&module.entry_points[0].function, info.get_entry_point(0))])
            .flat_map(|(function, info)| function.expressions.iter().map(move |(handle, e)| (e, &info[handle].ty)))
            .filter(|(expression, ty)| {
                // A clamp is written as a minimum of a maximum.
                let min = matches!(
                    expression,
                    naga::Expression::Math { fun: naga::MathFunction::Min | naga::MathFunction::Clamp, .. }
                );
                min && ty.inner_with(&module.types).scalar_kind() == Some(naga::ScalarKind::Uint)
            })
            .count();
        assert_eq!(trusted, [0, 0, own, 0, 0, 0, 0], "{name}");
        // The counting itself counts.
        assert!(checked[0] > 0 && checked[2] > own && checked[5] > 0, "{name}: {checked:?}");
        restricted += checked[6];
        let loops = kernel.source.contains("for (");
        let written = [checked[1], checked[3], if cooperates(kernel.source) { 1 } else { checked[4] }];
        assert!(!loops || written.iter().all(|count| *count > 0), "{name}: {checked:?}");
    });
    assert!(restricted > 0);
}

/// Where a word stands in a text, not as part of another.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !text[..*at].ends_with(part) && !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Whether a text gives a variable another value.
fn assigns(text: &str, variable: &str) -> bool {
    words(text, variable).any(|at| {
        let after = text[at + variable.len()..].trim_start();
        let operator = after.trim_start_matches(['+', '-', '*', '/', '%', '&', '|', '^']);
        operator.starts_with('=') && !operator.starts_with("==")
    })
}

/// Loops are not counted by wgpu, so each must end by itself: `for (var i = FROM; i < BOUND; i += CONSTANT)`, or halving
/// to zero, with neither `i` nor the bound assigned in between.
#[test]
fn every_loop_counts_to_a_bound_that_stays() {
    let ends = |text: &str| {
        assert!(words(text, "loop").chain(words(text, "while")).next().is_none());
        text.match_indices("for (").all(|(at, start)| {
            let (head, body) = text[at + start.len()..].split_once(") {").unwrap();
            let mut depth = 1;
            let end = body.find(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth == 0
            });
            let body = &body[..end.unwrap()];
            let [first, condition, step] = head.split("; ").collect::<Vec<_>>()[..] else { return false };
            let Some((variable, _)) = first.strip_prefix("var ").and_then(|first| first.split_once(" = ")) else {
                return false;
            };
            let halves = condition == format!("{variable} > 0u") && step == format!("{variable} /= 2u");
            let bound = condition.strip_prefix(&format!("{variable} < "));
            let constant =
                |by: &str| by != "0u" && by.chars().all(|c| !c.is_lowercase() || c == 'u') && !by.contains('-');
            let counts = step.strip_prefix(&format!("{variable} += ")).is_some_and(constant);
            let names = bound.unwrap_or_default().split(|c: char| !c.is_alphanumeric() && c != '_');
            let stays = names.filter(|name| !name.is_empty()).all(|name| !assigns(body, name));
            (halves || bound.is_some() && counts && stays) && !assigns(body, variable)
        })
    };
    for kernel in KERNELS {
        for variant in kernel.variants {
            let text = link(kernel.stem, kernel.source, variant.constants, variant.fragments).unwrap();
            let code: String = text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect();
            assert!(ends(&code), "{} {variant:?}", kernel.stem);
        }
    }
    for wrong in [
        "for (var i = 0u; i < count; i += step) { }",
        "for (var i = 0u; i < count; i += 0u) { }",
        "for (var i = 0u; i != count; i += 1u) { }",
        "for (var i = 0u; i < count; i += 1u) { if (true) { count += 1u; } }",
        "for (var i = 0u; i < count; i += 1u) { i -= 1u; }",
        "for (var half = 8u; half > 0u; half -= 1u) { }",
    ] {
        assert!(!ends(wrong), "{wrong}");
    }
}

/// Divisions are not guarded by wgpu either.
#[test]
fn every_divisor_is_a_constant() {
    for_each_variant(|name, _, module, info| {
        let entry = [(&module.entry_points[0].function, info.get_entry_point(0))];
        let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
        for (function, info) in functions.chain(entry) {
            for (_, expression) in function.expressions.iter() {
                let naga::Expression::Binary { op, right, .. } = expression else { continue };
                let divides = matches!(op, naga::BinaryOperator::Divide | naga::BinaryOperator::Modulo);
                let kind = info[*right].ty.inner_with(&module.types).scalar_kind();
                if !divides || kind == Some(naga::ScalarKind::Float) {
                    continue;
                }
                let mut divisor = *right;
                if let naga::Expression::Splat { value, .. } = function.expressions[divisor] {
                    divisor = value;
                }
                let literal = match function.expressions[divisor] {
                    naga::Expression::Constant(constant) => &module.global_expressions[module.constants[constant].init],
                    ref other => other,
                };
                let naga::Expression::Literal(naga::Literal::U32(constant)) = literal else {
                    panic!("{name}: {literal:?}");
                };
                assert_ne!(*constant, 0, "{name}");
            }
        }
    });
}
