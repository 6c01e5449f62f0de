//! The list of `attractor verify` on every device, and that it leaves out no kernel: it is what software adapters run
//! in place of the full tests of the mathematics.

use std::collections::BTreeSet;

use attractor::device::DeviceKind;
use attractor::internals::{KERNELS, compiled_kernels};
use attractor::network::{Network, Product};
use attractor::record::{RecordTargets, Rows, TopRows};
use attractor::rule::{Activation, Zero};
use attractor::{Device, Memory, Result, RetrieveOptions, Rule, Separation, Similarity, wgpu};
use harness::checks::{Answered, Check, Outcome, checks};

/// What the list asks, and what comes of it.
fn run(check: &Check, device: &Device) -> Result<(Outcome, Option<Answered>)> {
    let mut got = None;
    let answered = check.ask(device).and_then(|asked| {
        let answer = asked.answer(check)?;
        got = Some(answer.clone());
        Ok((answer, asked.told))
    });
    Ok((check.judge(device, answered)?.0, got))
}

/// Every case is right, twice to the same bit.
#[test]
fn every_case_is_right() {
    for (name, device) in harness::devices() {
        let device = if device.is_cpu() { device.clone() } else { harness::reopened(device) };
        let mut wrong = Vec::new();
        for check in checks() {
            let (outcome, first) = run(&check, &device).unwrap();
            match outcome {
                Outcome::Share(share) if share <= 1.0 => {}
                Outcome::Share(share) => wrong.push(format!("{}: {share:.2} times the bound", check.what)),
                Outcome::Refused => assert!(!device.is_cpu(), "{}: refused", check.what),
                Outcome::Unsupported(why) => {
                    assert!(!device.is_cpu(), "{}: {why}", check.what);
                    eprintln!("SKIP {name}, {}: {why}", check.what);
                }
            }
            assert_eq!(run(&check, &device).unwrap().1, first, "{name}, {}: two runs differ", check.what);
        }
        for check in harness::network_checks() {
            let (share, bits) = check.run(&device).unwrap();
            if share > 1.0 {
                wrong.push(format!("{}: {share:.2} times the bound", check.what));
            }
            assert_eq!(check.run(&device).unwrap().1, bits, "{name}, {}: two runs differ", check.what);
        }
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
        record_largest(&device);
        iterate_network(&device);
        let missing = missing(&device).join(", no ");
        if device.is_cpu() || missing.is_empty() {
            continue;
        }
        let missing = format!("{name}: the list compiles no {missing}: see `settings` in harness/src/checks.rs");
        // Thresholds of plans lie elsewhere on hardware, whose sizes the list is not made for.
        assert!(device.info().kind != DeviceKind::Software, "{missing}");
        println!("{missing}");
    }
}

/// Networks, whose products no retrieval has: of one vector, of complex numbers, and of as many as take two dispatches.
fn iterate_network(device: &Device) {
    let book: Vec<f32> = (0..32).map(|i| if i * i % 7 < 3 { 1.0 } else { -1.0 }).collect();
    let mut memory = Memory::new(device, 8, Rule::resonator()).unwrap();
    memory.add(&book).unwrap();
    let mut network = Network::new(8);
    let vectors: Vec<_> = (0..6).map(|_| network.vector()).collect();
    let complex = Product::complex(vectors[0]).times_conjugate(vectors[1]).times_conjugate(vectors[2]);
    network.update(vectors[0], &memory, vectors[0]).update(vectors[1], &memory, complex);
    network.update(vectors[2], &memory, &vectors[..4]).update(vectors[3], &memory, &vectors[..6]);
    let starts: Vec<&[f32]> = (0..6).map(|v| &book[4 * v..4 * v + 8]).collect();
    let answer = network.retrieve_blocking(&starts, &RetrieveOptions::steps(2)).unwrap();
    assert!(vectors[..4].iter().all(|v| answer.state(*v).iter().all(|x| x.abs() == 1.0)), "signs are signs");
}

/// Records the largest weights of every rule, which no answer that is read back needs.
fn record_largest(device: &Device) {
    let Some((gpu, queue)) = device.wgpu() else { return };
    let entmax = [1.25, 1.5, 2.0, 3.0].map(|alpha| Separation::Entmax { alpha });
    let others = [Separation::Softmax, Separation::TopK { k: 3 }, Separation::Power { n: 3 }];
    for separation in others.into_iter().chain(entmax) {
        let mut rule = Rule::new(Similarity::Dot, separation, 1.0);
        if !separation.is_normalized() {
            rule.update = rule.update.activation(Activation::Sign { zero: Zero::Keep }).remove_self();
        }
        let mut memory = Memory::new(device, 2, rule).unwrap();
        memory.add(&[-1.0, 1.0, 1.0, -1.0].repeat(4)).unwrap();
        let usage = wgpu::BufferUsages::STORAGE;
        let descriptor = wgpu::BufferDescriptor { label: None, size: 256, usage, mapped_at_creation: false };
        let buffer = gpu.create_buffer(&descriptor);
        let at = |byte| Rows::at(&buffer, byte);
        let targets = RecordTargets::new(1, at(0), at(64)).top(TopRows::new(2, at(128)));
        let mut encoder = gpu.create_command_encoder(&Default::default());
        memory.record(&mut encoder, &targets, &RetrieveOptions::default()).unwrap();
        queue.submit([encoder.finish()]);
    }
}

/// The settings of kernels that were not compiled for `device`, but those that it is never given.
fn missing(device: &Device) -> Vec<String> {
    let compiled = compiled_kernels(device);
    let mut missing = BTreeSet::new();
    let matrices = compiled.iter().any(|(stem, ..)| *stem == "fused_matrix");
    let subgroups = device.tuning().is_some_and(|tuning| tuning.register_subgroups > 0)
        && device.wgpu().is_some_and(|(device, _)| device.features().contains(wgpu::Features::SUBGROUP));
    for kernel in KERNELS.iter().filter(|kernel| matrices || kernel.stem != "fused_matrix") {
        let settings = || compiled.iter().filter(|(stem, ..)| *stem == kernel.stem);
        if settings().next().is_none() {
            missing.insert(kernel.stem.to_owned());
            continue;
        }
        for variant in kernel.variants {
            for constant in variant.constants {
                if !settings().any(|(_, constants, _)| constants.contains(constant)) {
                    missing.insert(format!("{} with {constant:?}", kernel.stem));
                }
            }
            for fragment in variant.fragments {
                if !subgroups && fragment.1 == "lib/spread_subgroup" {
                    continue;
                }
                if !settings().any(|(.., fragments)| fragments.contains(fragment)) {
                    missing.insert(format!("{} with {fragment:?}", kernel.stem));
                }
            }
        }
    }
    missing.into_iter().collect()
}
