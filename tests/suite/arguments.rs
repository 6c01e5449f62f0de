//! Rng, options and buffers that do not fit: each is refused by an error that names the call, before any work is
//! done, and by the same error on every engine.

use std::time::{Duration, Instant};

use attractor::partial::{Partial, PartialOptions};
use attractor::record::{RecordTargets, Rows};
use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Error, Mask, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, Separation, Similarity, wgpu,
};
use harness::host::{Host, hosts};

/// An error of `result`, which names `operation`.
#[track_caller]
fn refused<T>(result: attractor::Result<T>, operation: &str, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("{operation} accepts it") };
    let message = error.to_string();
    assert!(message.starts_with(&format!("{operation}: ")), "\"{message}\" does not name {operation}");
    assert!(words.iter().all(|word| message.contains(word)), "\"{message}\" lacks one of {words:?}");
    error
}

/// What `work` gives, within `limit`.
#[track_caller]
fn soon<T>(what: &str, limit: Duration, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    let took = begin.elapsed();
    assert!(took < limit, "{what} took {took:?}");
    done
}

fn memory(device: &Device, dim: usize, patterns: usize) -> Memory {
    let mut memory = Memory::new(device, dim, Rule::softmax(1.0)).unwrap();
    memory.add(&vec![0.5; dim * patterns]).unwrap();
    memory
}

fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

#[test]
fn rows_whose_end_does_not_fit_64_bits() {
    for Host { name, device: host, queue, .. } in hosts() {
        let memory = memory(&Device::from_wgpu(&host, &queue).unwrap(), 4, 3);
        let rows = buffer(&host, 4096);
        let mut encoder = host.create_command_encoder(&Default::default());
        let good = Rows::new(&rows);
        for (count, stride) in [
            // (2^62 - 1) x 4 + 4 words are 2^64; the end of the others is 2^64 bytes or 2^32 rows away.
            (1usize << 62, None),
            ((1 << 32) + 2, Some(u32::MAX)),
            (1 << 60, None),
            (1 << 60, Some(16)),
            (usize::MAX, None),
            (usize::MAX, Some(u32::MAX)),
            (1 << 32, Some(4)),
        ] {
            let wide = stride.map_or(good, |words| good.stride(words));
            let options = RetrieveOptions::default();
            let recording = RecordTargets::new(count, wide, wide);
            let words = ["expected queries", "4096 bytes"];
            refused(memory.record(&mut encoder, &recording, &options), "Memory::record", &words);
            refused(memory.job_to_buffers(&recording, &options), "Memory::job_to_buffers", &words);
            let answers = memory.record_readback(&mut encoder, count, wide, &options);
            refused(answers, "Memory::record_readback", &words);
        }
        let fits = RecordTargets::new(3, good, good);
        memory.record(&mut encoder, &fits, &RetrieveOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// Rows that fit their buffer, and of which a block fits no binding.
#[test]
fn rows_too_far_apart_for_a_binding() {
    for Host { name, device: host, queue, .. } in hosts() {
        let memory = memory(&Device::from_wgpu(&host, &queue).unwrap(), 4, 3);
        let (stride, count) = (1 << 20, 40);
        let far = buffer(&host, 4 * (u64::from(stride) * 39 + 4));
        let near = buffer(&host, 4096);
        let mut encoder = host.create_command_encoder(&Default::default());
        let (far, near) = (Rows::new(&far).stride(stride), Rows::new(&near));
        let options = RetrieveOptions::default();
        let words = ["max_storage_buffer_binding_size"];
        for (queries, output) in [(far, near), (near, far)] {
            let recording = RecordTargets::new(count, queries, output);
            refused(memory.record(&mut encoder, &recording, &options), "Memory::record", &words);
            refused(memory.job_to_buffers(&recording, &options), "Memory::job_to_buffers", &words);
        }
        refused(memory.record_readback(&mut encoder, count, far, &options), "Memory::record_readback", &words);
        // Fewer at a time fit.
        let few = RecordTargets::new(20, far, near);
        memory.record(&mut encoder, &few, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn batches_that_no_slice_holds_and_long_ones() {
    for (name, device) in harness::devices() {
        let memory = memory(device, 4, 300);
        for options in [RetrieveOptions::default(), RetrieveOptions::default().weights(WeightsOf::All).top(3)] {
            for batch in [usize::MAX, usize::MAX / 4, 1 << 62, 1 << 61] {
                refused(memory.explain(batch, &options), "Memory::explain", &["floats of one batch"]);
                refused(memory.warm_up(batch, &options), "Memory::warm_up", &["floats of one batch"]);
            }
            for batch in [1 << 32, (1 << 32) + 1, 1 << 50, isize::MAX as usize / 16] {
                soon(name, Duration::from_secs(10), || {
                    let told = memory.explain(batch, &options).unwrap();
                    assert_eq!(told.batch, batch, "{name}");
                    memory.warm_up(batch, &options).unwrap();
                });
            }
        }
        refused(memory.explain(0, &RetrieveOptions::default()), "Memory::explain", &["batch", "at least 1"]);
        refused(memory.warm_up(0, &RetrieveOptions::default()), "Memory::warm_up", &["batch", "at least 1"]);
        let none = RetrieveOptions::default().plan_for(0);
        refused(memory.explain(1, &none), "Memory::explain", &["plan_for", "at least 1"]);
        refused(memory.warm_up(1, &none), "Memory::warm_up", &["plan_for", "at least 1"]);
        refused(memory.retrieve_blocking(&[0.5; 8], &none), "Memory::retrieve_blocking", &["plan_for", "at least 1"]);
        for batch in [1, 1 << 32, usize::MAX] {
            let got = memory.retrieve_blocking(&[0.5; 8], &RetrieveOptions::default().plan_for(batch)).unwrap();
            assert_eq!(got.output, [0.5; 8], "{name}");
        }
    }
}

/// What is explained of a long batch is what is explained of its parts.
#[test]
fn a_long_batch_is_as_many_times_its_parts() {
    for (name, device) in harness::gpus() {
        let memory = memory(device, 64, 100);
        let one = memory.explain(1 << 20, &RetrieveOptions::steps(2)).unwrap();
        let four = memory.explain(1 << 22, &RetrieveOptions::steps(2)).unwrap();
        for (one, four) in [(one.flops(), four.flops()), (one.bytes(), four.bytes())] {
            let ratio = four as f64 / one as f64;
            assert!((ratio - 4.0).abs() < 0.01, "{name}: {ratio}");
        }
    }
}

#[test]
fn updates_that_a_device_would_never_be_through_with() {
    for (name, device) in harness::gpus() {
        let memory = memory(device, 4, 3);
        for options in [RetrieveOptions::steps(u32::MAX), RetrieveOptions::converge(1 << 20, 1e-6).trace()] {
            let words = ["updates of one retrieval", "1048575"];
            soon(name, Duration::from_secs(5), || {
                refused(memory.retrieve(&[0.5; 4], &options), "Memory::retrieve", &words);
                refused(memory.job(&[0.5; 4], &options), "Memory::job", &words);
                refused(memory.explain(1, &options), "Memory::explain", &words);
                refused(memory.warm_up(1, &options), "Memory::warm_up", &words);
            });
        }
        soon(name, Duration::from_secs(20), || memory.warm_up(1, &RetrieveOptions::steps(1_000_000)).unwrap());
        let many = soon(name, Duration::from_secs(60), || memory.explain(10_000, &RetrieveOptions::steps(1_000_000)));
        refused(many, "Memory::explain", &["dispatches"]);
    }
}

#[test]
fn room_for_more_windows_than_a_memory_may_have() {
    for (name, device) in harness::devices() {
        let mut memory = MemoryOptions::new(4, Rule::softmax(1.0)).window_bytes(64).build(device).unwrap();
        soon(name, Duration::from_secs(2), || {
            for rows in [usize::MAX, usize::MAX / 4, 1 << 40, (4 << 16) + 1] {
                // A GPU has no positions for the larger numbers.
                let words = match device.is_cpu() || u32::try_from(rows).is_ok() {
                    true => ["windows of one memory", "65536"],
                    false => ["patterns of one memory on a GPU", "4294967295"],
                };
                refused(memory.reserve(rows), "Memory::reserve", &words);
            }
        });
        let rows = vec![0.0f32; (4 << 18) + 4];
        refused(memory.add(&rows), "Memory::add", &["windows of one memory"]);
        assert_eq!((memory.len(), memory.capacity()), (0, 0), "{name}");
        refused(
            MemoryOptions::new(4, Rule::softmax(1.0)).window_bytes(0).build(device),
            "MemoryOptions::build",
            &["window bytes"],
        );
    }
    let mut many = MemoryOptions::new(4, Rule::softmax(1.0)).window_bytes(64).build(&Device::cpu()).unwrap();
    soon("65,536 windows", Duration::from_secs(5), || many.reserve(4 << 16).unwrap());
    soon("rows one by one", Duration::from_secs(5), || {
        for _ in 0..1 << 17 {
            many.add(&[1.0; 4]).unwrap();
        }
    });
}

/// Products of shapes that are 0 modulo 2^64.
#[test]
fn shapes_whose_product_wraps() {
    let options = MemoryOptions::new(1, Rule::softmax(1.0)).value_dim(1 << 57);
    let mut wide = options.build(&Device::cpu()).unwrap();
    let added = wide.add(Patterns::new(&[0.0; 128]).values(&[]));
    refused(added, "Memory::add", &["values of 128 x 144115188075855872 = 18446744073709551616 floats"]);
    for (_, device) in harness::devices() {
        let memory = memory(device, 4, 4);
        let mask = RetrieveOptions::default().mask(Mask::keep_per_query(&[]));
        refused(memory.explain(1 << 62, &mask), "Memory::explain", &["a mask of 4611686018427387904 x 4"]);
        let clamp = RetrieveOptions::default().clamp(&[]);
        refused(memory.explain(1 << 62, &clamp), "Memory::explain", &["a clamp of 4611686018427387904 x 4"]);
    }
}

/// 200,000 queries whose weights are asked for one by one take about as long as all of them.
#[test]
fn listing_queries_costs_as_much_as_all() {
    for (name, device) in harness::quick_devices() {
        let memory = memory(device, 4, 8);
        let batch = if device.is_cpu() { 200_000 } else { 4_000 };
        let queries = vec![0.25f32; 4 * batch];
        let time = |weights: WeightsOf| {
            let options = RetrieveOptions::default().weights(weights);
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let begin = Instant::now();
                let got = memory.retrieve_blocking(&queries, &options).unwrap();
                best = best.min(begin.elapsed());
                assert_eq!(got.weights.unwrap().len(), 8 * batch, "{name}");
            }
            best
        };
        let all = time(WeightsOf::All);
        let listed = time(WeightsOf::Queries((0..batch).rev().collect()));
        println!("{name}: all {all:?}, listed {listed:?}");
        assert!(listed < 3 * all + Duration::from_millis(100), "{name}: {listed:?} instead of {all:?}");
    }
}

/// Rows of weights come in the order that was asked for, however often.
#[test]
fn weights_in_any_order_and_twice() {
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 2, Rule::softmax(2.0)).unwrap();
        memory.add(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.6]).unwrap();
        let queries = [1.0, 0.1, 0.0, 1.0, -1.0, 0.0, 0.5, 0.5, 0.2, 0.9];
        let ask = |weights| {
            let options = RetrieveOptions::default().weights(weights);
            memory.retrieve_blocking(&queries, &options).unwrap().weights.unwrap()
        };
        let all = ask(WeightsOf::All);
        let order = [4, 0, 4, 3, 1, 0, 0];
        let listed = ask(WeightsOf::Queries(order.to_vec()));
        let expected: Vec<f32> = order.iter().flat_map(|query| &all[3 * query..3 * query + 3]).copied().collect();
        assert_eq!(listed, expected, "{name}");
    }
}

#[test]
fn recordings_refuse_reports_that_they_have_no_place_for() {
    let reports = [
        ("top", RetrieveOptions::default().top(3)),
        ("top", RetrieveOptions::default().top(3).weight_at_least(0.5)),
        ("weights", RetrieveOptions::default().weights(WeightsOf::Queries(vec![0]))),
        ("statistics", RetrieveOptions::default().statistics()),
        ("energy", RetrieveOptions::default().energy()),
        ("trace", RetrieveOptions::default().trace()),
    ];
    for Host { name, device: host, queue, .. } in hosts() {
        let memory = memory(&Device::from_wgpu(&host, &queue).unwrap(), 4, 3);
        let rows = buffer(&host, 4096);
        let mut encoder = host.create_command_encoder(&Default::default());
        let rows = Rows::new(&rows);
        let recording = RecordTargets::new(1, rows, rows);
        for (option, options) in &reports {
            let words = [&*format!("the option `{option}`"), "record_readback"];
            let error = refused(memory.record(&mut encoder, &recording, options), "Memory::record", &words);
            assert!(matches!(error, Error::Unsupported { .. }), "{name}: {error}");
            refused(memory.job_to_buffers(&recording, options), "Memory::job_to_buffers", &words);
            // What brings answers to the host brings them.
            let mut answer = memory.record_readback(&mut encoder, 1, rows, options).unwrap();
            assert!(!answer.is_ready());
        }
    }
}

#[test]
fn buffers_of_another_device() {
    let adapters = harness::adapters();
    let open = |adapter: &wgpu::Adapter| pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    for (name, adapter) in &adapters {
        let (host, queue) = open(adapter);
        let memory = memory(&Device::from_wgpu(&host, &queue).unwrap(), 4, 3);
        let mine = buffer(&host, 4096);
        let mut encoder = host.create_command_encoder(&Default::default());
        // Other devices of the same adapter, and of others of the instance.
        for (_, other) in &adapters {
            let foreign = buffer(&open(other).0, 4096);
            let (mine, foreign) = (Rows::new(&mine), Rows::new(&foreign));
            let good = RecordTargets::new(2, mine, mine);
            let options = RetrieveOptions::default();
            for (what, recording) in [
                ("queries", RecordTargets::new(2, foreign, mine)),
                ("output", RecordTargets::new(2, mine, foreign)),
                ("state", good.clone().state(foreign)),
                ("report", good.clone().report(foreign)),
            ] {
                let error = refused(memory.record(&mut encoder, &recording, &options), "Memory::record", &[what]);
                assert!(matches!(error, Error::OtherDevice { what: named, .. } if named == what), "{name}: {error}");
                let error = refused(memory.job_to_buffers(&recording, &options), "Memory::job_to_buffers", &[what]);
                assert!(matches!(error, Error::OtherDevice { .. }), "{name}: {error}");
            }
            let error = refused(
                memory.record_readback(&mut encoder, 2, foreign, &options),
                "Memory::record_readback",
                &["queries", "another device"],
            );
            assert!(matches!(error, Error::OtherDevice { .. }), "{name}: {error}");
            memory.record(&mut encoder, &good, &options).unwrap();
        }
        queue.submit([encoder.finish()]);
    }
}

/// No queries: the same answer of no rows from every call and every engine.
#[test]
fn no_queries() {
    let options = RetrieveOptions::steps(2)
        .top(2)
        .weights(WeightsOf::All)
        .statistics()
        .energy()
        .trace()
        .mask(Mask::keep(&[true, false, true]))
        .clamp(&[]);
    let mut expected = None;
    for (name, device) in harness::devices() {
        let memory = memory(device, 4, 3);
        let mut answers = vec![
            memory.retrieve_blocking(&[], &options).unwrap(),
            memory.retrieve(&[], &options).and_then(pollster::block_on).unwrap(),
            memory.retrieve(&[], &options).unwrap().wait().unwrap(),
        ];
        assert_eq!(memory.retrieve_partial_blocking(&[], &PartialOptions::default()).unwrap(), [], "{name}");
        if let Some((host, _)) = device.wgpu() {
            let (job, answer) = memory.job(&[], &options).unwrap();
            assert!(job.is_done(), "{name}");
            answers.push(answer.wait().unwrap());
            let rows = buffer(host, 16);
            let mut encoder = host.create_command_encoder(&Default::default());
            let rows = Rows::new(&rows);
            let none = RecordTargets::new(0, rows, rows);
            memory.record(&mut encoder, &none, &RetrieveOptions::default()).unwrap();
            assert!(memory.job_to_buffers(&none, &RetrieveOptions::default()).unwrap().is_done(), "{name}");
            answers.push(memory.record_readback(&mut encoder, 0, rows, &options).unwrap().try_take().unwrap().unwrap());
        }
        for answer in answers {
            assert_eq!(answer.top.as_ref().map(|top| (top.k, top.ids.len())), Some((2, 0)), "{name}");
            assert_eq!((answer.weights.as_deref(), answer.energy.as_deref()), (Some(&[][..]), Some(&[][..])), "{name}");
            assert_eq!(answer, *expected.get_or_insert_with(|| answer.clone()), "{name}");
        }
        let none = MemoryOptions::new(4, Rule::softmax(1.0)).build(device).unwrap();
        let error = none.retrieve_blocking(&[], &RetrieveOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Empty { .. }), "{name}: {error}");
    }
}

/// The call that was made, for each way to make it.
#[test]
fn option_errors_name_the_call() {
    for (_, device) in harness::devices() {
        let memory = memory(device, 4, 3);
        let (bad, query) = (RetrieveOptions::steps(0), [0.5; 4]);
        let words = ["steps must be at least 1"];
        refused(memory.retrieve_blocking(&query, &bad), "Memory::retrieve_blocking", &words);
        refused(memory.retrieve(&query, &bad), "Memory::retrieve", &words);
        refused(memory.explain(1, &bad), "Memory::explain", &words);
        refused(memory.warm_up(1, &bad), "Memory::warm_up", &words);
        refused(memory.job(&query, &bad), "Memory::job", &words);
        let long = [0.5; 5];
        refused(
            memory.retrieve_blocking(&long, &RetrieveOptions::default()),
            "Memory::retrieve_blocking",
            &["queries"],
        );
        refused(
            memory.retrieve(&long, &RetrieveOptions::default()).and_then(pollster::block_on),
            "Memory::retrieve",
            &["queries"],
        );
        if let Some((host, _)) = device.wgpu() {
            let rows = buffer(host, 64);
            let mut encoder = host.create_command_encoder(&Default::default());
            let rows = Rows::new(&rows);
            let one = RecordTargets::new(1, rows, rows);
            refused(memory.record(&mut encoder, &one, &bad), "Memory::record", &words);
            refused(memory.job_to_buffers(&one, &bad), "Memory::job_to_buffers", &words);
            refused(memory.record_readback(&mut encoder, 1, rows, &bad), "Memory::record_readback", &words);
        }
    }
    refused(Memory::new(&Device::cpu(), 4, Rule::softmax(f32::NAN)), "MemoryOptions::build", &["beta"]);
}

/// Debug output is a line or two, however much is stored.
#[test]
fn debug_output_is_a_summary() {
    for (name, device) in harness::devices() {
        let mut memory = memory(device, 4, 100_000);
        memory.remove(memory.id_at(7).unwrap()).unwrap();
        let mask = memory.mask_where(|id| id.0 % 2 == 0);
        let said = format!("{memory:?} {mask:?} {:?}", RetrieveOptions::default().mask(mask.clone()));
        assert!(said.len() < 2000, "{name}: {} characters", said.len());
        assert!(said.contains("patterns: 99999") && said.contains("positions: 100000"), "{said}");
        assert!(said.contains("flags: 100000, kept: 50000"), "{said}");
    }
}

/// Bytes of a partial state that say what none can be: refused, so that whatever is read can be merged and finished.
#[test]
fn partial_states_that_no_patterns_make() {
    // Magic, version, similarity and separation, beta, alpha, then k, d, dv, the number of patterns, the text of the
    // update and its length, and how many of largest score follow.
    const HEAD: usize = 8 + 4 + 2 + 4 + 4 + 6 * 8 + "none".len();
    let partial = |separation| {
        let mut memory = Memory::new(&Device::cpu(), 2, Rule::new(Similarity::Dot, separation, 2.0)).unwrap();
        memory.add(&[1.0, 0.0, 0.0, 1.0, 0.9, 0.1, -1.0, 0.5]).unwrap();
        memory.retrieve_partial_blocking(&[1.0, 0.2], &PartialOptions::default()).unwrap().remove(0).to_bytes()
    };
    let put = |bytes: &[u8], at: usize, number: f64| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let mean = partial(Separation::Softmax);
    let number = |at: usize| f64::from_le_bytes(mean[at..at + 8].try_into().unwrap());
    Partial::from_bytes(&mean).unwrap();
    let (log_sum, score, largest, row) = (HEAD, HEAD + 8, HEAD + 16, HEAD + 24);
    for (at, bad) in [
        (row, 1e300),
        (row, -3.5e38),
        (row, f64::NAN),
        (row + 8, f64::INFINITY),
        // A mean score above the largest, or so far below that no four weights have the entropy.
        (score, number(largest) + 0.1),
        (score, number(log_sum) - 2.0),
        (score, -1e300),
        (score, f64::NAN),
        (log_sum, number(largest) + 2.0),
        (log_sum, number(largest) - 0.1),
        (log_sum, 1e300),
        (largest, 1e300),
    ] {
        let error = Partial::from_bytes(&put(&mean, at, bad));
        refused(error, "Partial::from_bytes", &["expected"]);
    }
    // Scores that agree with each other, and are larger than any of finite rows.
    let mut huge = mean.clone();
    for at in [log_sum, score, largest] {
        huge = put(&huge, at, 1e300);
    }
    refused(Partial::from_bytes(&huge), "Partial::from_bytes", &["largest score"]);

    let k = 8 + 4 + 2 + 4 + 4;
    let listed = partial(Separation::TopK { k: 3 });
    Partial::from_bytes(&listed).unwrap();
    let mut fewer = listed.clone();
    fewer[k..k + 8].copy_from_slice(&2u64.to_le_bytes());
    refused(Partial::from_bytes(&fewer), "Partial::from_bytes", &["at most 2 candidates"]);

    let sparse = partial(Separation::Sparsemax);
    Partial::from_bytes(&sparse).unwrap();
    // The first candidate's score, after the count.
    for bad in [-1e6, 1e300, f64::NAN] {
        refused(Partial::from_bytes(&put(&sparse, HEAD + 8, bad)), "Partial::from_bytes", &["expected"]);
    }
}

/// Every partial state that an engine makes is read back, whatever the numbers.
#[test]
fn partial_states_of_every_engine_are_read_back() {
    let separations = [
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::TopK { k: 5 },
    ];
    for (name, device) in harness::devices() {
        for (seed, separation) in separations.into_iter().enumerate() {
            for beta in [0.0, 1e-3, 1.0, 300.0, -4.0] {
                let mut numbers = harness::Rng(seed as u64 + 1);
                let rule = Rule::new(Similarity::Euclidean, separation, beta);
                let mut memory = MemoryOptions::new(5, rule).value_dim(3).build(device).unwrap();
                memory.add(Patterns::new(&numbers.vector(5 * 700)).values(&numbers.vector(3 * 700))).unwrap();
                let all = memory.retrieve_partial_blocking(&numbers.vector(5 * 4), &PartialOptions::default()).unwrap();
                for partial in all {
                    let read = Partial::from_bytes(&partial.to_bytes());
                    assert_eq!(read.unwrap_or_else(|e| panic!("{name} {rule:?}: {e}")), partial);
                }
            }
        }
    }
}
