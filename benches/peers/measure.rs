//! Measures one retrieval at a time for `run.py`: a JSON request a line on standard input, a JSON answer a line on
//! standard output. The process stays, so that it and a peer can take turns.
//!
//! `{"op": "prepare", "batch": B, "patterns": N, "dim": d, "rule": "softmax", "beta": x, ...}` (with `"precision": "f16"` also
//! `"round": true`, to let queries and weights be rounded to halves) makes the patterns and the
//! queries and judges sampled answers by the reference; `{"op": "run", "seconds": s}` times retrievals for about that
//! long, on a GPU by its own clock, too, and the recording of each; `{"op": "bandwidth"}` reads memory with every thread;
//! `{"op": "floors", "device": ...}` measures a GPU's copies and multiply-adds; `{"op": "explain"}` tells what is done;
//! `{"op": "start", ...}`, the first request of a process, times all of it up to the first answer.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use attractor::reference::Problem;
use attractor::{
    AdapterChoice, Device, DeviceOptions, Memory, MemoryOptions, Precision, Retrieval, RetrieveOptions, Rule,
    Separation, Similarity, Software, wgpu,
};
use rayon::prelude::*;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[path = "../common/mod.rs"]
mod common;
mod gpu;
use common::normal;
use gpu::{Gpu, Recorded};

fn device(name: &str, software: bool) -> Result<Device> {
    device_with(name, software, DeviceOptions::default())
}

fn device_with(name: &str, software: bool, mut options: DeviceOptions) -> Result<Device> {
    match name {
        "cpu" => return Ok(Device::cpu()),
        "auto" => {}
        "vulkan" => options.backends = Some(wgpu::Backends::VULKAN),
        "gl" => options.backends = Some(wgpu::Backends::GL),
        "metal" => options.backends = Some(wgpu::Backends::METAL),
        "dx12" => options.backends = Some(wgpu::Backends::DX12),
        other => options.adapter = Some(AdapterChoice::Name(other.to_owned())),
    }
    if software {
        options.software = Software::Require;
    }
    Ok(pollster::block_on(Device::with_options(&options))?)
}

fn separation(name: &str) -> Result<Separation> {
    Ok(match name {
        "softmax" => Separation::Softmax,
        "softmax1" => Separation::Softmax1,
        "sparsemax" => Separation::Sparsemax,
        "entmax15" => Separation::Entmax { alpha: 1.5 },
        "topk32" => Separation::TopK { k: 32 },
        other => return Err(format!("rule {other} is not one of those measured").into()),
    })
}

/// The nearest number with 11 bits, which a half is unless it is very small.
fn half(v: f32) -> f32 {
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

struct Job {
    memory: Memory,
    queries: Vec<f32>,
    options: RetrieveOptions,
    /// On a GPU with a clock, the same on a device of the harness.
    clocked: Option<(Gpu, Recorded)>,
}

impl Job {
    fn run(&self) -> Result<Retrieval> {
        Ok(self.memory.retrieve_with_blocking(&self.queries, &self.options)?)
    }
}

/// The job, and what is known of it before it is timed.
fn prepare(request: &Value) -> Result<(Job, Value)> {
    let number = |name: &str| request[name].as_u64().ok_or_else(|| format!("{name}: expected a count"));
    let (batch, patterns, dim) = (number("batch")? as usize, number("patterns")? as usize, number("dim")? as usize);
    let name = request["rule"].as_str().unwrap_or("softmax");
    let beta = request["beta"].as_f64().map_or(1.0 / (dim as f32).sqrt(), |beta| beta as f32);
    let rule = Rule::new(Similarity::Dot, separation(name)?, beta);
    let precision = match request["precision"].as_str().unwrap_or("f32") {
        "f32" => Precision::F32,
        "f16" => Precision::F16,
        "i8" => Precision::I8,
        other => return Err(format!("precision {other}: expected f32, f16 or i8").into()),
    };
    let on = device(request["device"].as_str().unwrap_or("cpu"), request["software"].as_bool().unwrap_or(false))?;
    let keys = normal(1, patterns * dim);
    let mut queries = normal(2, batch * dim);
    // A share of the queries are stored patterns under a little noise: they arrive at once.
    let near = (request["near"].as_f64().unwrap_or(0.0) * batch as f64) as usize;
    for (q, query) in queries.chunks_exact_mut(dim).take(near).enumerate() {
        let key = &keys[q * 7919 % patterns * dim..][..dim];
        query.iter_mut().zip(key).for_each(|(x, k)| *x = k + 0.3 * *x);
    }
    let steps = request["steps"].as_u64().unwrap_or(1) as u32;
    let mut options = match request["tolerance"].as_f64() {
        Some(tolerance) => RetrieveOptions::converge(steps, tolerance as f32),
        None => RetrieveOptions::steps(steps),
    };
    options.round_to_half = request["round"].as_bool().unwrap_or(false);
    let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(&on)?;
    memory.add(&keys)?;
    let clocked = match Gpu::open(&on) {
        Ok(gpu) => {
            let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(&gpu.handle()?)?;
            memory.add(&keys)?;
            let recorded = Recorded::new(&gpu, memory, &queries, options.clone());
            recorded.run(&gpu)?;
            Some((gpu, recorded))
        }
        Err(_) => None,
    };
    let job = Job { memory, queries, options, clocked };
    let got = job.run()?;
    let mut error = 0.0f64;
    if precision != Precision::I8 {
        let stored = match precision {
            Precision::F16 => keys.iter().copied().map(half).collect(),
            _ => keys,
        };
        let problem = Problem::new(rule, dim, &stored);
        for q in [0, batch / 2, batch - 1] {
            let expected = problem.retrieve(&job.queries[q * dim..(q + 1) * dim], got.steps[q]);
            let errors = got.output(q).iter().zip(&expected.output).map(|(y, e)| (f64::from(*y) - e).abs());
            error = errors.fold(error, f64::max);
        }
        if error.is_nan() || error > if job.options.round_to_half { 2e-2 } else { 2e-4 } {
            return Err(format!("off the reference by {error:e}").into());
        }
    }
    let mut stops: Vec<u32> = got.steps.clone();
    stops.sort_unstable();
    let told = json!({
        "device": on.info().to_string(), "error": error, "threads": rayon::current_num_threads(),
        "steps_median": stops[batch / 2], "steps_most": stops[batch - 1],
        "steps_mean": stops.iter().map(|s| f64::from(*s)).sum::<f64>() / batch as f64,
    });
    Ok((job, told))
}

/// A device, a memory and its first two answers, each timed from its own beginning, and the kernels that were compiled.
fn start(request: &Value) -> Result<Value> {
    let (patterns, dim) = (10_000, 128);
    let batch = request["batch"].as_u64().unwrap_or(1) as usize;
    let (keys, queries) = (normal(1, patterns * dim), normal(2, batch * dim));
    let rule = Rule::new(Similarity::Dot, separation(request["rule"].as_str().unwrap_or("softmax"))?, 0.1);
    let options = DeviceOptions {
        checked_shaders: request["checked"].as_bool().unwrap_or(false),
        pipeline_cache: request["cache"].as_str().map(Into::into),
        ..DeviceOptions::default()
    };
    let mut last = Instant::now();
    let mut lap = || std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64();
    let software = request["software"].as_bool().unwrap_or(false);
    let on = device_with(request["device"].as_str().unwrap_or("auto"), software, options)?;
    let open = lap();
    let mut memory = Memory::new(&on, dim, rule)?;
    memory.add(&keys)?;
    let stored = lap();
    black_box(memory.retrieve_blocking(&queries)?);
    let first = lap();
    black_box(memory.retrieve_blocking(&queries)?);
    let second = lap();
    let compiled = attractor::internals::compiled(&on);
    Ok(json!({
        "device": on.info().to_string(), "open": open, "stored": stored, "first": first, "second": second,
        "compiled": compiled,
    }))
}

/// Calls `work` for about `seconds`, three times at least; the time of each call.
fn time(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    while times.len() < 3 || Instant::now() < until {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Bytes a second of reading 1 GiB with every thread, the best of several.
fn bandwidth() -> f64 {
    let bytes = vec![1u64; 1 << 27];
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            let sum: u64 = bytes
                .par_chunks(1 << 17)
                .map(|chunk| {
                    let mut lanes = [0u64; 16];
                    for part in chunk.as_chunks::<16>().0 {
                        (0..16).for_each(|lane| lanes[lane] ^= part[lane]);
                    }
                    lanes.iter().fold(0, |all, lane| all ^ lane)
                })
                .reduce(|| 0, |a, b| a ^ b);
            black_box(sum);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    size_of_val(bytes.as_slice()) as f64 / best
}

fn answer(request: &Value, job: &mut Option<Job>) -> Result<Value> {
    match request["op"].as_str() {
        Some("prepare") => {
            *job = None;
            let (prepared, told) = prepare(request)?;
            *job = Some(prepared);
            Ok(told)
        }
        Some("run") => {
            let job = job.as_ref().ok_or("run comes after prepare")?;
            let seconds = request["seconds"].as_f64().unwrap_or(0.5);
            let times = time(seconds, || job.run().map(|retrieval| drop(black_box(retrieval))))?;
            let mut told = json!({ "times": times });
            if let Some((gpu, recorded)) = &job.clocked {
                let (mut on_device, mut recording) = (Vec::new(), Vec::new());
                time(seconds, || {
                    let (device, record) = recorded.run(gpu)?;
                    on_device.push(device);
                    recording.push(record);
                    Ok(())
                })?;
                told["device_times"] = json!(on_device);
                told["record_times"] = json!(recording);
            }
            Ok(told)
        }
        Some("bandwidth") => Ok(json!({ "bandwidth": bandwidth() })),
        Some("floors") => {
            let on =
                device(request["device"].as_str().unwrap_or("auto"), request["software"].as_bool().unwrap_or(false))?;
            let gpu = Gpu::open(&on)?;
            let (copies, multiply_adds) = (gpu.copies()?, gpu.multiply_adds()?);
            let info = on.info();
            Ok(json!({
                "bandwidth": copies, "flops": multiply_adds, "name": info.name, "driver": info.driver,
                "backend": info.backend,
            }))
        }
        Some("explain") => {
            let job = job.as_ref().ok_or("explain comes after prepare")?;
            let told = job.memory.explain(job.queries.len() / job.memory.dim(), &job.options)?;
            Ok(json!({ "explanation": told.to_string() }))
        }
        Some("start") => start(request),
        _ => Err("op: expected prepare, run, bandwidth, floors, explain or start".into()),
    }
}

fn main() -> Result<()> {
    let mut job = None;
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let said = answer(&request, &mut job).unwrap_or_else(|error| json!({ "failed": error.to_string() }));
        println!("{said}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
