//! Networks as jobs and in a caller's encoder: the bits of the one-shot call, from and to buffers of the caller.

use std::time::Duration;

use attractor::network::{NetworkRetrieval, NetworkTargets};
use attractor::record::Rows;
use attractor::rule::Zero;
use attractor::{Device, Error, RetrieveOptions, Rule, wgpu};
use harness::NetworkCase;
use harness::host::{Host, hosts};
use wgpu::util::DeviceExt;

use crate::record::read;

/// Networks with what is asked of them; where kernels take long to compile, one.
fn cases(name: &str) -> Vec<(NetworkCase, RetrieveOptions)> {
    let mut cases = vec![
        (NetworkCase::resonator(2, 63, (3, 4), 11, Zero::Zero, false), RetrieveOptions::converge(30, 1e-6)),
        (NetworkCase::periods(true), RetrieveOptions::converge(31, 1e-6)),
        (NetworkCase::phasors(Rule::attention_resonator(2.0)), RetrieveOptions::steps(3)),
        (NetworkCase::hops(), RetrieveOptions::steps(2)),
    ];
    cases.truncate(if harness::is_quick(name) { 4 } else { 1 });
    cases
}

fn starts(case: &NetworkCase) -> Vec<&[f32]> {
    case.starts.iter().map(Vec::as_slice).collect()
}

#[test]
fn jobs_give_the_bits_of_one_call_however_they_are_cut() {
    for (name, device) in harness::gpus() {
        let (host, queue) = device.wgpu().unwrap();
        for (case, options) in cases(name) {
            let memories = case.memories(device).unwrap();
            let (network, _) = case.network(&memories);
            for options in [options.clone(), options.clone().plan_for(3)] {
                let whole = network.retrieve_blocking(&starts(&case), &options).unwrap();
                for budget in [Duration::from_micros(20), Duration::from_secs(3600)] {
                    let (mut job, answer) = network.job(&starts(&case), &options).unwrap();
                    let mut slices = 0;
                    while !job.is_done() {
                        let mut encoder = host.create_command_encoder(&Default::default());
                        job.advance(&mut encoder, budget).unwrap();
                        queue.submit([encoder.finish()]);
                        slices += 1;
                        // Others use the memories meanwhile.
                        if slices == 2 {
                            network.retrieve_blocking(&starts(&case), &options).unwrap();
                        }
                    }
                    assert_eq!(answer.wait().unwrap(), whole, "{name}: {slices} slices");
                    assert!(budget > Duration::from_secs(1) || slices > 5, "{name}: {slices} slices");
                }
            }
            let (job, answer) = network.job(&starts(&case), &options).unwrap();
            job.cancel();
            assert!(matches!(answer.wait(), Err(Error::Cancelled { .. })), "{name}");
        }
    }
}

/// The words of a buffer for `case`: its starts, room for each state, `gap` words apart, and for reports.
struct Words {
    starts: Vec<u64>,
    states: Vec<u64>,
    reports: u64,
    words: Vec<u32>,
    stride: usize,
}

const GARBAGE: u32 = 0xdead_beef;

impl Words {
    fn new(case: &NetworkCase, gap: usize) -> Self {
        let (dim, batch) = (case.dim, case.batch());
        let stride = dim + gap;
        let mut words = vec![GARBAGE; 5];
        let mut starts = Vec::new();
        for start in &case.starts {
            starts.push(words.len() as u64);
            for row in start.chunks_exact(dim) {
                words.extend(row.iter().map(|x| x.to_bits()));
                words.extend(vec![GARBAGE; gap]);
            }
        }
        let mut room = |count: usize| {
            let at = words.len() as u64;
            words.extend(vec![GARBAGE; count]);
            at
        };
        let states = case.starts.iter().map(|_| room(batch * stride)).collect();
        let reports = room(4 * batch);
        Self { starts, states, reports, words, stride }
    }

    fn targets<'b>(
        &self,
        case: &NetworkCase,
        ids: &[attractor::network::VectorId],
        buffer: &'b wgpu::Buffer,
    ) -> NetworkTargets<'b> {
        let rows = |word: u64| Rows::at(buffer, 4 * word).stride(self.stride as u32);
        let mut targets = NetworkTargets::new(case.batch()).report(Rows::at(buffer, 4 * self.reports));
        for ((id, start), (from, to)) in ids.iter().zip(&case.starts).zip(self.starts.iter().zip(&self.states)) {
            targets = match start.len() == case.dim {
                true => targets.start_for_all(*id, rows(*from)),
                false => targets.start(*id, rows(*from)),
            };
            targets = targets.state(*id, rows(*to));
        }
        targets
    }

    fn buffer(&self, host: &wgpu::Device) -> wgpu::Buffer {
        host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&self.words),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    }

    /// Compares what is in a buffer afterwards.
    fn judge(
        &self,
        name: &str,
        case: &NetworkCase,
        ids: &[attractor::network::VectorId],
        (after, whole): (&[u32], &NetworkRetrieval),
    ) {
        let mut expected = self.words.clone();
        for (id, to) in ids.iter().zip(&self.states) {
            for b in 0..case.batch() {
                let row = whole.state_row(*id, b).iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                expected[*to as usize + b * self.stride..][..case.dim].copy_from_slice(&row);
            }
        }
        let reports = self.reports as usize;
        for b in 0..case.batch() {
            let [stamp, steps, change, status] = after[reports + 4 * b..][..4] else { unreachable!() };
            assert!(stamp != 0 && stamp == after[reports], "{name}: one stamp");
            assert_eq!((steps, change), (whole.steps[b], whole.change[b].to_bits()), "{name}: query {b}");
            assert_eq!(status & 64 != 0, whole.status[b] == attractor::retrieval::Status::Cycle, "{name}: query {b}");
            expected[reports + 4 * b..][..4].copy_from_slice(&after[reports + 4 * b..][..4]);
        }
        assert!(after == expected, "{name}: states, or words between them");
    }
}

#[test]
fn recordings_give_the_bits_of_one_call_and_write_nothing_else() {
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        for (case, options) in cases(&name) {
            let memories = case.memories(&device).unwrap();
            let (network, ids) = case.network(&memories);
            for (options, gap) in [(options.clone(), 0), (options.clone().plan_for(4), 7)] {
                let whole = network.retrieve_blocking(&starts(&case), &options).unwrap();
                let words = Words::new(&case, gap);
                let buffer = words.buffer(&host);
                let mut encoder = host.create_command_encoder(&Default::default());
                network.record(&mut encoder, &words.targets(&case, &ids, &buffer), &options).unwrap();
                words.judge(&name, &case, &ids, (&read(&host, &queue, encoder, &buffer), &whole));

                let buffer = words.buffer(&host);
                let mut job = network.job_to_buffers(&words.targets(&case, &ids, &buffer), &options).unwrap();
                while !job.is_done() {
                    let mut encoder = host.create_command_encoder(&Default::default());
                    job.advance(&mut encoder, Duration::from_millis(1)).unwrap();
                    queue.submit([encoder.finish()]);
                }
                let encoder = host.create_command_encoder(&Default::default());
                words.judge(&name, &case, &ids, (&read(&host, &queue, encoder, &buffer), &whole));
            }
        }
    }
}

#[test]
fn starts_that_are_not_finite_are_flagged_and_their_states_are_zero() {
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        // A bad coordinate in the first vector, a further one and an input is seen alike.
        for vector in 0..3 {
            let mut case = NetworkCase::resonator(2, 63, (3, 4), 5, Zero::Zero, false);
            for start in &mut case.starts {
                *start = start.iter().copied().cycle().take(5 * 63).collect();
            }
            case.starts[vector][63 + 5] = f32::NAN;
            case.starts[vector][3 * 63 + 62] = f32::NEG_INFINITY;
            let memories = case.memories(&device).unwrap();
            let (network, ids) = case.network(&memories);
            let words = Words::new(&case, 0);
            let buffer = words.buffer(&host);
            let mut encoder = host.create_command_encoder(&Default::default());
            let targets = words.targets(&case, &ids, &buffer);
            network.record(&mut encoder, &targets, &RetrieveOptions::converge(8, 1e-6)).unwrap();
            let after = read(&host, &queue, encoder, &buffer);
            for b in 0..5 {
                let bad = b == 1 || b == 3;
                let status = after[words.reports as usize + 4 * b + 3];
                assert_eq!(status & 1, u32::from(bad), "{name}: vector {vector}, query {b}");
                for to in &words.states[1..] {
                    let row = &after[*to as usize + b * 63..][..63];
                    assert_eq!(row.iter().all(|word| *word == 0), bad, "{name}: vector {vector}, query {b}");
                }
            }
        }
    }
}

#[test]
fn bad_targets_are_refused_by_name() {
    let case = NetworkCase::resonator(2, 16, (2, 4), 3, Zero::Zero, false);
    let on_cpu = case.memories(&Device::cpu()).unwrap();
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let memories = case.memories(&device).unwrap();
        let (network, ids) = case.network(&memories);
        let words = Words::new(&case, 0);
        let buffer = words.buffer(&host);
        let options = RetrieveOptions::steps(2);
        let refused = |targets: NetworkTargets<'_>, options: &RetrieveOptions, word: &str| {
            let mut encoder = host.create_command_encoder(&Default::default());
            let error = network.record(&mut encoder, &targets, options).unwrap_err().to_string();
            assert!(error.contains("Network::record") && error.contains(word), "{name}: {error}");
            let error = network.job_to_buffers(&targets, options).unwrap_err().to_string();
            assert!(error.contains("Network::job_to_buffers") && error.contains(word), "{name}: {error}");
        };
        let whole = words.targets(&case, &ids, &buffer);
        let rows = Rows::new(&buffer);
        refused(NetworkTargets::new(3), &options, "none for vector 0");
        refused(NetworkTargets::new(3).start(ids[0], rows).start(ids[2], rows), &options, "none for vector 1");
        refused(whole.clone().start(ids[1], rows), &options, "two for vector 1");
        let mut larger = attractor::network::Network::new(16);
        let stray = (0..5).map(|_| larger.vector()).last().unwrap();
        refused(whole.clone().start(stray, rows), &options, "vector 4");
        refused(whole.clone().state(stray, rows), &options, "vector 4");
        refused(whole.clone().state(ids[1], Rows::at(&buffer, buffer.size() - 8)), &options, "state");
        refused(whole.clone().report(Rows::at(&buffer, 2)), &options, "multiple of 4");
        refused(whole.clone(), &options.clone().top(2), "`top`");
        refused(whole.clone(), &RetrieveOptions::steps(0), "steps");
        let elsewhere = {
            let usage = wgpu::BufferUsages::COPY_DST;
            host.create_buffer(&wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false })
        };
        refused(whole.clone().state(ids[1], Rows::new(&elsewhere)), &options, "STORAGE");
        // No queries are nothing to do.
        let mut encoder = host.create_command_encoder(&Default::default());
        let none = ids.iter().fold(NetworkTargets::new(0), |targets, id| targets.start(*id, rows));
        network.record(&mut encoder, &none, &options).unwrap();
        assert!(network.job_to_buffers(&none, &options).unwrap().is_done());

        let (network, _) = case.network(&on_cpu);
        let error = network.record(&mut encoder, &whole, &options).unwrap_err();
        assert!(matches!(error, Error::NeedsGpu { .. }), "{name}: {error}");
        assert!(matches!(network.job(&starts(&case), &options), Err(Error::NeedsGpu { .. })));
    }
}
