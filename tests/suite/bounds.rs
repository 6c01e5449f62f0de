//! Kernels stay within their buffers and read what was written: every index is compared with what it indexes, in
//! retrievals of every kind and in wrong orders, and shaders without wgpu's checks give the bits of those with them.

use std::time::Duration;

use attractor::device::DeviceOptions;
use attractor::internals::{Faults, KERNELS, Overrides, Strategy, forced, forced_search, link};
use attractor::network::{Network, Product};
use attractor::record::{RecordTargets, Rows, SearchTargets, TopRows};
use attractor::retrieval::WeightsOf;
use attractor::rule::{Activation, Update, Zero};
use attractor::{Device, Mask, Precision, RetrieveOptions, Rule, SearchOptions, Separation, Similarity, wgpu};
use harness::index_check::{Seen, WATCHED, rewrite};
use harness::{Case, Rng};
use wgpu::util::DeviceExt;

/// A retrieval of one kind or another.
fn draw(seed: u64) -> (Case, RetrieveOptions) {
    let mut numbers = Rng(seed);
    let mut pick = |of: usize| (numbers.bits() % of as u64) as usize;
    let similarity =
        [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan, Similarity::Dot][pick(5)];
    let separation = [
        Separation::Softmax,
        Separation::Softmax,
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::Entmax { alpha: 3.0 },
        Separation::TopK { k: 3 },
    ][pick(8)];
    let (batch, patterns, dim, value_dim) =
        [(1, 1, 1, None), (5, 67, 13, Some(6)), (70, 131, 37, Some(17)), (130, 64, 5, None)][pick(4)];
    let rule = Rule::new(similarity, separation, 1.3);
    let mut case = Case { steps: 2, ..Case::random(seed, batch, patterns, dim, value_dim, rule) };
    case.precision = Precision::ALL[pick(3)];
    case.window_bytes = [None, Some(2048)][pick(2)];
    case.tolerance = [None, Some(1e-3)][pick(2)];
    let mut flags = |count: usize| (0..count).map(|_| pick(3) > 0).collect::<Vec<bool>>();
    let (bias, keep, clamp) = (flags(1)[0], flags(batch * patterns), flags(batch * dim));
    case.bias = bias.then(|| Rng(seed + 1).vector(patterns));
    case.keep = flags(1)[0].then_some(keep);
    case.clamp = flags(1)[0].then_some(clamp);
    let statistics = !flags(1)[0];
    let top = [0, 4][pick(2)];
    let weights = [WeightsOf::None, WeightsOf::All, WeightsOf::Queries(vec![batch - 1, 0])][pick(3)].clone();
    let mut options = case.options().top(top).weights(weights);
    let energy = similarity == Similarity::Dot && !matches!(separation, Separation::TopK { .. });
    if statistics {
        options = options.statistics();
    }
    if energy && pick(2) == 0 {
        options = options.energy();
    }
    if energy && pick(3) == 0 {
        options = options.trace();
    }
    let overrides = Overrides {
        strategy: [None, Some(Strategy::FusedStream), Some(Strategy::Staged)][pick(3)],
        rows_per_split: [None, None, Some(1)][pick(3)],
        splits: [None, None, Some(1)][pick(3)],
        query_block: [None, None, Some(3)][pick(3)],
        ..Overrides::default()
    };
    (case, forced(options, overrides, Faults::POISON))
}

/// What `draw` does not come upon: large tiles, lists that overflow, selections that no list holds, and queries held in
/// registers, which software compiles for long and which are few therefore.
fn rare() -> Vec<(Case, RetrieveOptions)> {
    let by = |strategy| Overrides { strategy: Some(strategy), ..Overrides::default() };
    let listed = |separation, beta, patterns| {
        let case = Case::random(9, 2, patterns, 5, None, Rule::new(Similarity::Dot, separation, beta));
        let options = forced(RetrieveOptions::steps(1).top(1000), Overrides::default(), Faults::POISON);
        (case, options)
    };
    let plain = Case::random(10, 17, 100, 16, None, Rule::softmax(0.5));
    let mut masked = Case::random(11, 66, 100, 5, Some(6), Rule::new(Similarity::Euclidean, Separation::Softmax, 0.5));
    masked.precision = Precision::I8;
    masked.keep = Some((0..66 * 100).map(|i| i % 7 != 0).collect());
    let held = |case: Case| {
        let options = forced(case.options(), by(Strategy::FusedRegister), Faults::POISON);
        (case, options)
    };
    let large = {
        let case = Case::random(12, 70, 131, 9, Some(70), Rule::softmax(0.5));
        let overrides =
            Overrides { strategy: Some(Strategy::Staged), queries_per_invocation: Some(8), ..Overrides::default() };
        let options = forced(case.options(), overrides, Faults::POISON);
        (case, options)
    };
    // Few queries of a sparse rule, and tiles that none of them may use.
    let skipped = {
        let rule = Rule::new(Similarity::Dot, Separation::Sparsemax, 1.0);
        let case =
            Case { keep: Some((0..400).map(|i| i % 200 < 40).collect()), ..Case::random(13, 2, 200, 9, None, rule) };
        let options = forced(case.options(), Overrides::default(), Faults::POISON);
        (case, options)
    };
    // Lists by bounds, over several chunks, with the largest weights beside them; and so flat that they overflow.
    let by_bounds = |separation, beta, masked: bool| {
        let mut case = Case::random(15, 3, 5000, 9, None, Rule::new(Similarity::Euclidean, separation, beta));
        case.precision = Precision::I8Exact;
        case.keep = masked.then(|| (0..3 * 5000).map(|i| i % 700 < 300).collect());
        let overrides =
            Overrides { bounds: Some(true), rows_per_split: Some(1), splits: Some(8), ..Overrides::default() };
        let options = forced(RetrieveOptions::steps(2).top(20), overrides, Faults::POISON);
        (case, options)
    };
    let mut all = vec![
        by_bounds(Separation::Sparsemax, 3.0, false),
        by_bounds(Separation::Sparsemax, 1e-3, false),
        by_bounds(Separation::TopK { k: 300 }, 1.0, true),
        large,
        skipped,
        listed(Separation::Sparsemax, 1e-3, 5000),
        listed(Separation::Entmax { alpha: 3.0 }, 1e-3, 5000),
        listed(Separation::TopK { k: 1100 }, 1.0, 5000),
        listed(Separation::TopK { k: 20 }, 1.0, 5000),
        listed(Separation::TopK { k: 1000 }, 0.0, 5000),
        held(plain),
        held(masked),
    ];
    all.extend(family());
    all
}

/// The same of the wider family: what ends an update, and what queries have of their own.
fn family() -> Vec<(Case, RetrieveOptions)> {
    let linear = Rule::new(Similarity::Dot, Separation::Linear, 0.01);
    let activated = |activation| {
        let update = Update::default().activation(activation).damping(0.25);
        Case { steps: 2, ..Case::random(16, 5, 67, 150, None, linear.then(update)) }
    };
    let signs = Update::default().activation(Activation::Sign { zero: Zero::Keep });
    let own = |batch: usize, rule, masked: bool| {
        let mut case = Case::random(17, batch, 131, 9, None, rule);
        for row in [&mut case.keys, &mut case.queries] {
            for x in row.iter_mut() {
                *x = if *x < 0.0 { -1.0 } else { 1.0 };
            }
        }
        case.betas = Some((0..batch).map(|b| 0.1 + 0.01 * b as f32).collect());
        case.exclude = Some((0..batch).map(|b| (b % 2 == 0).then_some(b)).collect());
        case.rows = Some((0..batch).map(|b| b..60 + b % 70).collect());
        case.keep = masked.then(|| (0..batch * 131).map(|i| i % 7 != 0).collect());
        case
    };
    let power = Rule::new(Similarity::Dot, Separation::Power { n: 3 }, 0.1).then(signs.remove_self());
    // The first state leaves the range in which scores are right.
    let mut far = Case { steps: 3, ..Case::random(18, 5, 67, 13, None, linear.then(Update::default().gain(1e20))) };
    far.clamp = Some((0..5 * 13).map(|i| i % 3 == 0).collect());
    let round = Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(signs.gain(-1.0));
    let round = Case { steps: 31, tolerance: Some(0.5), ..Case::random(19, 5, 4, 13, None, round) };
    let softmax = Rule::softmax(0.5).then(signs.activation(Activation::Sign { zero: Zero::Plus }).remove_self());
    let mut fielded = own(5, softmax, false);
    fielded.field = Some(Rng(20).vector(5 * 9));
    let sparse = Rule::new(Similarity::Dot, Separation::Sparsemax, 1.0);
    let cases = [
        (activated(Activation::Phasor), None),
        (activated(Activation::Normalize), None),
        (activated(Activation::SoftmaxBlocks { width: 3 }), None),
        (activated(Activation::ArgmaxBlocks { width: 75 }), None),
        (far, None),
        (round, None),
        (fielded, None),
        (own(5, power, true), Some(Strategy::FusedStream)),
        (own(70, power, true), Some(Strategy::FusedRegister)),
        (own(70, power, true), Some(Strategy::Staged)),
        (own(3, sparse, true), None),
        (own(70, sparse, false), None),
    ];
    let drawn = |(case, strategy): (Case, Option<Strategy>)| {
        let overrides = Overrides { strategy, ..Overrides::default() };
        // Of weights in full, one kernel of its own tells.
        let options = case.options().top(3).weights(WeightsOf::Queries(vec![1]));
        let options = forced(options, overrides, Faults::POISON);
        (case, options)
    };
    cases.into_iter().map(drawn).collect()
}

/// The GPUs on which this does not take too long.
fn gpus() -> impl Iterator<Item = &'static (String, Device)> {
    harness::quick_devices().filter(|(_, device)| !device.is_cpu())
}

/// Another device on the adapter of `like`, watched or not.
fn opened(like: &Device, checked_shaders: bool) -> Device {
    let options = DeviceOptions::default();
    harness::reopened_with(like, if checked_shaders { options.checked_shaders() } else { options })
}

fn untouched(_: &str, text: &str) -> String {
    text.to_owned()
}

#[test]
fn every_index_is_within_and_checks_change_no_bit() {
    let mut reached_by_some = std::collections::BTreeMap::new();
    for (name, like) in gpus() {
        let (trusted, checked, watched) = (opened(like, false), opened(like, true), opened(like, false));
        let seen = Seen::watch(&watched, untouched);
        let count = if name == "lavapipe" { 12 } else { 4 };
        for (i, (case, options)) in (0..count).map(draw).chain(rare()).enumerate() {
            let run = |device: &Device| case.run(name, device, &options);
            let Some(plain) = run(&trusted) else { continue };
            let describe = || format!("{name} {i}: {:?} {options:?}", case.rule);
            assert_eq!(run(&checked).as_ref(), Some(&plain), "with checks: {}", describe());
            assert_eq!(run(&watched).as_ref(), Some(&plain), "watched: {}", describe());
            let strayed = seen.strayed(&watched);
            assert!(strayed.is_empty(), "{strayed:?}: {}", describe());
        }
        for separation in [Separation::Sparsemax, Separation::Entmax { alpha: 1.25 }, Separation::Entmax { alpha: 3.0 }]
        {
            let case = Case::random(14, 2, 3000, 5, None, Rule::new(Similarity::Dot, separation, 0.5));
            let Some(memory) = case.memory(name, &watched) else { continue };
            let (gpu, queue) = watched.wgpu().unwrap();
            let contents = bytemuck::cast_slice(&case.queries);
            let usage = wgpu::BufferUsages::STORAGE;
            let rows = gpu.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
            let size = 16384;
            let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
            let target = gpu.create_buffer(&descriptor);
            let top = TopRows::new(200, Rows::at(&target, 1024)).weights(Rows::at(&target, 4096));
            let targets = RecordTargets::new(2, Rows::new(&rows), Rows::new(&target))
                .top(top.similarity(Rows::at(&target, 8192)));
            let mut encoder = gpu.create_command_encoder(&Default::default());
            memory.record(&mut encoder, &targets, &RetrieveOptions::default()).unwrap();
            queue.submit([encoder.finish()]);
            let strayed = seen.strayed(&watched);
            assert!(strayed.is_empty(), "{strayed:?}: largest weights of {separation:?}");
        }
        for (top, least) in [(3, 0.5), (1000, -100.0)] {
            let case = Case::random(13, 3, 5000, 5, None, Rule::softmax(0.5));
            let search = |device: &Device| {
                let memory = case.memory(name, device)?;
                let options = SearchOptions::from(top).at_least(least);
                let options = forced_search(options, Overrides::default(), Faults::POISON);
                Some(memory.search_blocking(&case.queries, options).unwrap())
            };
            let Some(plain) = search(&trusted) else { continue };
            assert_eq!(search(&checked).as_ref(), Some(&plain), "with checks: {name} search of {top}");
            assert_eq!(search(&watched).as_ref(), Some(&plain), "watched: {name} search of {top}");
            let strayed = seen.strayed(&watched);
            assert!(strayed.is_empty(), "{strayed:?}: search of {top}");
        }
        let iterate = |device: &Device| {
            let book: Vec<f32> = (0..5 * 36).map(|i| if i * i % 7 < 3 { 1.0 } else { -1.0 }).collect();
            let mut memory = attractor::Memory::new(device, 36, Rule::resonator()).unwrap();
            memory.add(&book).unwrap();
            let mut network = Network::new(36);
            let vectors: Vec<_> = (0..6).map(|_| network.vector()).collect();
            let complex = Product::complex(vectors[0]).times_conjugate(vectors[1]);
            network.update(vectors[0], &memory, &vectors[..6]).update(vectors[1], &memory, complex);
            let starts: Vec<&[f32]> = (0..6).map(|v| &book[7 * v..7 * v + 3 * 36]).collect();
            let states = network.retrieve_blocking(&starts, &RetrieveOptions::steps(3)).unwrap();
            [states.state(vectors[0]).to_vec(), states.state(vectors[1]).to_vec()]
        };
        let plain = iterate(&trusted);
        assert_eq!(iterate(&checked), plain, "with checks: {name} network");
        assert_eq!(iterate(&watched), plain, "watched: {name} network");
        let strayed = seen.strayed(&watched);
        assert!(strayed.is_empty(), "{strayed:?}: network");
        for (stem, place, reached, _) in seen.places(&watched) {
            *reached_by_some.entry((stem, place)).or_insert(false) |= reached;
        }
    }
    if reached_by_some.is_empty() {
        return;
    }
    // A kernel need not call all of a fragment, but some kernel does.
    let reached = |what: &str| reached_by_some.iter().any(|((_, place), reached)| place == what && *reached);
    let missed: Vec<_> = reached_by_some.keys().filter(|(_, place)| !reached(place)).collect();
    assert!(missed.is_empty(), "never came to {missed:?}: `rare` needs a case that does");
    for kernel in KERNELS {
        if kernel.source.contains("enable wgpu_cooperative_matrix;")
            && reached_by_some.keys().all(|(stem, _)| *stem != kernel.stem)
        {
            println!("SKIP {}: no adapter here has cooperative matrices", kernel.stem);
            continue;
        }
        let some = reached_by_some.iter().any(|((stem, _), reached)| *stem == kernel.stem && *reached);
        assert!(some, "no index of {} was reached", kernel.stem);
    }
}

/// What the watching rests on: no array is indexed but through it.
#[test]
fn every_index_is_watched() {
    for kernel in KERNELS {
        for variant in kernel.variants {
            let text = link(kernel.stem, kernel.source, variant.constants, variant.fragments).unwrap();
            let mut places = 0..;
            let text = rewrite(&text, 0, |_| places.next().unwrap());
            let module = naga::front::wgsl::parse_str(&text)
                .unwrap_or_else(|error| panic!("{}: {}", kernel.stem, error.emit_to_string(&text)));
            let named = |function: &naga::Function| function.name.clone().unwrap_or_default();
            let mut indexed = 0;
            let entry = module.entry_points.iter().map(|entry| &entry.function);
            for function in module.functions.iter().map(|(_, function)| function).chain(entry) {
                for (_, expression) in function.expressions.iter() {
                    let naga::Expression::Access { index, .. } = expression else { continue };
                    let through = match function.expressions[*index] {
                        naga::Expression::CallResult(called) => named(&module.functions[called]).starts_with(WATCHED),
                        // The watch's own.
                        naga::Expression::Load { pointer } => match function.expressions[pointer] {
                            naga::Expression::LocalVariable(variable) => {
                                let name = function.local_variables[variable].name.as_deref();
                                name.is_some_and(|name| name.starts_with("spoiled"))
                            }
                            _ => false,
                        },
                        _ => false,
                    };
                    assert!(through, "{}: {:?}", kernel.stem, function.expressions[*index]);
                    indexed += 1;
                }
            }
            assert!(indexed >= 2, "{}", kernel.stem);
        }
    }
}

/// Changes one line of one kernel.
fn changed(stem: &'static str, from: &'static str, to: &'static str) -> impl Fn(&str, &str) -> String + Send + Sync {
    move |of, text| {
        assert!(of != stem || text.contains(from), "{stem} has no {from}");
        if of == stem { text.replace(from, to) } else { text.to_owned() }
    }
}

#[test]
fn what_strays_is_seen() {
    for (name, like) in gpus() {
        let case = Case::random(4, 64, 64, 16, None, Rule::softmax(0.8));
        let run = |device: &Device, strategy| {
            let overrides = Overrides { strategy: Some(strategy), ..Overrides::default() };
            case.run(name, device, &forced(RetrieveOptions::steps(1), overrides, Faults::POISON)).unwrap()
        };
        // A buffer, workgroup memory, and memory of an invocation's own.
        for (strategy, stem, from, to) in [
            (
                Strategy::Staged,
                "separation",
                "let row = slot * params.score_stride;",
                "let row = (slot + 1u) * params.score_stride;",
            ),
            (Strategy::Staged, "similarity", "key_slab[at],", "key_slab[at + ROWS * PITCH],"),
            (
                Strategy::FusedRegister,
                "fused_register",
                "let x = held[q * KEYS + c];",
                "let x = held[(q + 1u) * KEYS + c];",
            ),
        ] {
            let device = opened(like, false);
            let seen = Seen::watch(&device, changed(stem, from, to));
            let _ = run(&device, strategy);
            let strayed = seen.strayed(&device);
            assert!(!strayed.is_empty() && strayed.iter().all(|(of, _)| *of == stem), "{name} {stem}: {strayed:?}");
        }
        // A word of workgroup memory that was not written.
        let device = opened(like, false);
        let _seen = Seen::watch(&device, changed("separation", "gathered[local] = most;", ""));
        assert_ne!(run(&device, Strategy::Staged), run(like, Strategy::Staged), "{name}: garbage in workgroup memory");
    }
}

/// A list is taken at its word.
fn trusting(_: &str, text: &str) -> String {
    text.replace("min(queries[0], params.base.w)", "queries[0]")
        .replace("min(queries[1u + slot], params.base.w - 1u)", "queries[1u + slot]")
}

/// Slices of a job that are submitted in the wrong order, or not at all, find the lists of other retrievals in their
/// workspace: those must not lead outside the buffers of this one.
#[test]
fn slices_out_of_order_stay_within() {
    let outside = |name: &str, like: &Device, damage: fn(&str, &str) -> String| {
        let device = opened(like, false);
        let (gpu, queue) = device.wgpu().unwrap();
        let seen = Seen::watch(&device, damage);
        for separation in [Separation::Softmax, Separation::Sparsemax, Separation::TopK { k: 5 }] {
            let case = Case::random(8, 64, 150, 9, None, Rule::new(Similarity::Cosine, separation, 2.0));
            let memory = case.memory(name, &device).unwrap();
            let slices = |queries: &[f32], options: &RetrieveOptions| {
                let (mut job, answer) = memory.job(queries, options).unwrap();
                let mut slices = Vec::new();
                while !job.is_done() {
                    let mut encoder = gpu.create_command_encoder(&Default::default());
                    job.advance(&mut encoder, Duration::from_micros(300)).unwrap();
                    slices.push(encoder.finish());
                }
                (slices, answer)
            };
            // Leaves lists of 64 queries behind.
            let (whole, answer) = slices(&case.queries, &RetrieveOptions::steps(2));
            queue.submit(whole);
            answer.wait().unwrap();
            let mask = Mask::keep_per_query(&vec![true; 3 * 150]);
            let (mut wrong, _answer) = slices(&case.queries[..3 * 9], &RetrieveOptions::steps(2).mask(mask));
            wrong.reverse();
            wrong.pop();
            queue.submit(wrong);
        }
        seen.strayed(&device)
    };
    for (name, like) in gpus() {
        let strayed = outside(name, like, untouched);
        assert!(strayed.is_empty(), "{name}: {strayed:?}");
        assert!(!outside(name, like, trusting).is_empty(), "{name}: lists of others are seen");
    }
}

/// Whatever a host's buffer holds, no index comes from it.
#[test]
fn queries_of_any_bits_stay_within() {
    for (name, like) in gpus() {
        let device = opened(like, false);
        let (gpu, queue) = device.wgpu().unwrap();
        let seen = Seen::watch(&device, untouched);
        let mut numbers = Rng(12);
        let words: Vec<u32> = (0..20 * 9).map(|_| numbers.bits() as u32).collect();
        let usage = wgpu::BufferUsages::STORAGE;
        let contents = bytemuck::cast_slice(&words);
        let queries = gpu.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
        let output = gpu.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
        for separation in [Separation::Softmax, Separation::Entmax { alpha: 1.5 }, Separation::TopK { k: 5 }] {
            // Scores near the end of the range, and most queries beyond it.
            let mut case = Case::random(8, 1, 150, 9, None, Rule::new(Similarity::Dot, separation, 1e20));
            case.keys.iter_mut().for_each(|key| *key *= 1e8);
            let memory = case.memory(name, &device).unwrap();
            for strategy in [Strategy::FusedStream, Strategy::FusedRegister, Strategy::Staged] {
                let overrides = Overrides { strategy: Some(strategy), ..Overrides::default() };
                let options = forced(RetrieveOptions::steps(3), overrides, Faults::POISON);
                let recording = RecordTargets::new(20, Rows::new(&queries), Rows::new(&output));
                let mut encoder = gpu.create_command_encoder(&Default::default());
                memory.record(&mut encoder, &recording, &options).unwrap();
                queue.submit([encoder.finish()]);
            }
            let descriptor = wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false };
            let nearest = gpu.create_buffer(&descriptor);
            let top = TopRows::new(3, Rows::new(&nearest))
                .weights(Rows::at(&nearest, 256))
                .similarity(Rows::at(&nearest, 512));
            let recording = RecordTargets::new(20, Rows::new(&queries), Rows::new(&output)).top(top);
            let search = SearchTargets::new(20, Rows::new(&queries), Rows::new(&nearest));
            let mut encoder = gpu.create_command_encoder(&Default::default());
            memory.record(&mut encoder, &recording, &RetrieveOptions::default()).unwrap();
            memory.record_search(&mut encoder, &search, 9).unwrap();
            queue.submit([encoder.finish()]);
        }
        let strayed = seen.strayed(&device);
        assert!(strayed.is_empty(), "{name}: {strayed:?}");
    }
}
