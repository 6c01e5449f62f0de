//! Measures one retrieval at a time for `run.py`: a JSON request a line on standard input, a JSON answer a line on
//! standard output. The process stays, so that it and a peer can take turns.
//!
//! `{"op": "prepare", "batch": B, "patterns": N, "dim": d, "rule": "softmax", "beta": x, ...}` (with `"precision":
//! "f16"` also `"round": true`, to let queries and weights be rounded to halves) makes the patterns and the queries and
//! judges sampled answers by the reference; `{"op": "run", "seconds": s}` times retrievals for about that long, on a
//! GPU by its own clock, too, and the recording of each; `{"op": "bandwidth"}` reads memory and multiplies in registers
//! with every thread; `{"op": "floors", "device": ...}` measures a GPU's copies and multiply-adds; `{"op": "explain"}`
//! tells what is done; with `"search": K` a job finds the K nearest patterns by cosine similarity (with `"plain": true`
//! it retrieves by top-k instead, without a report); with `"family": KIND` a system of the wider family runs
//! (`resonator`, `hopfield`, `sparse-distributed`, `linear`, `softmax`); `{"op": "sizes"}` lists the sizes of `attractor bench` as
//! requests; `{"op": "start", ...}`, the first request of a process, times all of it up to the first answer.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use attractor::device::{AdapterChoice, DeviceOptions, SoftwareAdapters};
use attractor::retrieval::Stop;
use attractor::{Device, Memory, Precision, RetrieveOptions, Rule, Separation, Similarity};
use harness::backends;
use harness::measure::family::{FamilyLoad, FamilyMeasurement};
use harness::measure::gpu::Gpu;
use harness::measure::measurement::Measurement;
use harness::measure::search::{SearchLoad, SearchMeasurement};
use harness::measure::{Result, cpu};
use harness::rng::normal;
use harness::workloads::{SIZES, Size, Workload};
use serde_json::{Value, json};

fn device(name: &str, software: bool) -> Result<Device> {
    device_with(name, software, DeviceOptions::default())
}

fn device_with(name: &str, software: bool, mut options: DeviceOptions) -> Result<Device> {
    match name {
        "cpu" => return Ok(Device::cpu()),
        "auto" => {}
        _ => match backends::named(name) {
            Some(backends) => options = options.backends(backends),
            None => options = options.adapter(AdapterChoice::Name(name.to_owned())),
        },
    }
    if software {
        options = options.software(SoftwareAdapters::Require);
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

/// A size of `attractor bench` as a request, without what is the default.
fn size(size: &Size) -> Value {
    let Workload { batch, patterns, dim, rule, precision, options, near } = size.workload(1);
    let mut request = json!({ "batch": batch, "patterns": patterns, "dim": dim });
    match rule.separation {
        Separation::Sparsemax => request["rule"] = "sparsemax".into(),
        Separation::Entmax { .. } => request["rule"] = "entmax15".into(),
        _ => {}
    }
    if precision != Precision::F32 {
        request["precision"] = precision.name().into();
    }
    if let Stop::Converge { max_steps, tolerance } = options.get_stop() {
        request["beta"] = rule.beta.into();
        request["steps"] = max_steps.into();
        request["tolerance"] = tolerance.into();
        request["near"] = near.into();
    }
    json!({ "name": size.name, "divided": size.divided, "request": request })
}

/// What is measured.
enum Job {
    Retrieval(Box<Measurement>),
    Search(Box<SearchMeasurement>),
    Family(Box<FamilyMeasurement>),
}

/// A search of the `search` nearest patterns, and what is known of it before it is timed.
fn prepare_search(request: &Value, top: u64) -> Result<(Job, Value)> {
    let number = |name: &str| request[name].as_u64().ok_or_else(|| format!("{name}: expected a count"));
    let (batch, patterns, dim) = (number("batch")? as usize, number("patterns")? as usize, number("dim")? as usize);
    let precision: Precision = request["precision"].as_str().unwrap_or("f32").parse()?;
    let plain = request["plain"].as_bool().unwrap_or(false);
    let on = device(request["device"].as_str().unwrap_or("cpu"), request["software"].as_bool().unwrap_or(false))?;
    let load = SearchLoad { batch, patterns, dim, top: top as usize, precision, plain };
    let job = SearchMeasurement::prepare(load, &on)?;
    let bytes = if precision == Precision::F32 { 4 } else { 1 };
    let told = json!({
        "device": on.info().to_string(), "threads": rayon::current_num_threads(), "steps_mean": 1.0,
        "flops": 2.0 * batch as f64 * patterns as f64 * dim as f64, "pattern_bytes": bytes * patterns * dim,
    });
    Ok((Job::Search(job.into()), told))
}

/// A system of the wider family, and what is known of it before it is timed.
fn prepare_family(request: &Value, kind: &str) -> Result<(Job, Value)> {
    let number = |name: &str| request[name].as_u64().ok_or_else(|| format!("{name}: expected a count"));
    let (batch, patterns, dim) = (number("batch")? as usize, number("patterns")? as usize, number("dim")? as usize);
    let load = match kind {
        "resonator" => {
            let (factors, steps) = (number("factors")? as usize, number("steps")? as u32);
            FamilyLoad::Resonator { batch, dim, factors, rows: patterns, steps }
        }
        "hopfield" => FamilyLoad::Hopfield { batch, dim, patterns, steps: number("steps")? as u32 },
        "sparse-distributed" => {
            let precision = request["precision"].as_str().unwrap_or("f32").parse()?;
            FamilyLoad::SparseDistributed { batch, dim, patterns, threshold: number("threshold")? as f32, precision }
        }
        "linear" | "softmax" => FamilyLoad::Read { batch, dim, patterns, linear: kind == "linear" },
        other => return Err(format!("family {other} is not one of those measured").into()),
    };
    let on = device(request["device"].as_str().unwrap_or("cpu"), request["software"].as_bool().unwrap_or(false))?;
    let job = FamilyMeasurement::prepare(load, &on)?;
    let (flops, bytes) = job.work();
    let told = json!({
        "device": on.info().to_string(), "threads": rayon::current_num_threads(), "steps_mean": 1.0, "flops": flops,
        "pattern_bytes": bytes,
    });
    Ok((Job::Family(job.into()), told))
}

/// The job, and what is known of it before it is timed.
fn prepare(request: &Value) -> Result<(Job, Value)> {
    if let Some(top) = request["search"].as_u64() {
        return prepare_search(request, top);
    }
    if let Some(kind) = request["family"].as_str() {
        return prepare_family(request, kind);
    }
    let number = |name: &str| request[name].as_u64().ok_or_else(|| format!("{name}: expected a count"));
    let (batch, patterns, dim) = (number("batch")? as usize, number("patterns")? as usize, number("dim")? as usize);
    let name = request["rule"].as_str().unwrap_or("softmax");
    let beta = request["beta"].as_f64().map_or(1.0 / (dim as f32).sqrt(), |beta| beta as f32);
    let precision: Precision = request["precision"].as_str().unwrap_or("f32").parse()?;
    let steps = request["steps"].as_u64().unwrap_or(1) as u32;
    let mut options = match request["tolerance"].as_f64() {
        Some(tolerance) => RetrieveOptions::converge(steps, tolerance as f32),
        None => RetrieveOptions::steps(steps),
    };
    if request["round"].as_bool().unwrap_or(false) {
        options = options.round_to_half();
    }
    let rule = Rule::new(Similarity::Dot, separation(name)?, beta);
    let near = request["near"].as_f64().unwrap_or(0.0);
    let on = device(request["device"].as_str().unwrap_or("cpu"), request["software"].as_bool().unwrap_or(false))?;
    let load = Workload { batch, patterns, dim, rule, precision, options, near };
    let (job, told) = Measurement::prepare(&load, &on)?;
    let told = json!({
        "device": on.info().to_string(), "error": told.error, "threads": rayon::current_num_threads(),
        "steps_median": told.steps[batch / 2], "steps_most": told.steps[batch - 1], "steps_mean": told.mean_steps(),
        "flops": load.flops() * told.mean_steps(), "pattern_bytes": load.bytes(),
    });
    Ok((Job::Retrieval(job.into()), told))
}

/// A device, a memory and its first two answers, each timed from its own beginning, and the kernels that were compiled.
fn start(request: &Value) -> Result<Value> {
    let (patterns, dim) = (10_000, 128);
    let batch = request["batch"].as_u64().unwrap_or(1) as usize;
    let (keys, queries) = (normal(1, patterns * dim), normal(2, batch * dim));
    let rule = Rule::new(Similarity::Dot, separation(request["rule"].as_str().unwrap_or("softmax"))?, 0.1);
    let mut options = DeviceOptions::default();
    if request["checked"].as_bool().unwrap_or(false) {
        options = options.checked_shaders();
    }
    if let Some(folder) = request["cache"].as_str() {
        options = options.pipeline_cache(folder);
    }
    let mut last = Instant::now();
    let mut lap = || std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64();
    let software = request["software"].as_bool().unwrap_or(false);
    let on = device_with(request["device"].as_str().unwrap_or("auto"), software, options)?;
    let open = lap();
    let mut memory = Memory::new(&on, dim, rule)?;
    memory.add(&keys)?;
    let stored = lap();
    black_box(memory.retrieve_blocking(&queries, &RetrieveOptions::default())?);
    let first = lap();
    black_box(memory.retrieve_blocking(&queries, &RetrieveOptions::default())?);
    let second = lap();
    let compiled = attractor::internals::compiled(&on);
    Ok(json!({
        "device": on.info().to_string(), "open": open, "stored": stored, "first": first, "second": second,
        "compiled": compiled,
    }))
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
            let job = match job {
                Job::Retrieval(job) => job,
                Job::Search(search) => return Ok(json!({ "times": search.time(seconds)? })),
                Job::Family(family) => return Ok(json!({ "times": family.time(seconds)? })),
            };
            let times = job.time(seconds)?;
            let mut told = json!({ "times": times.whole });
            if !times.device.is_empty() {
                told["device_times"] = json!(times.device);
                told["record_times"] = json!(times.recording);
            }
            Ok(told)
        }
        Some("bandwidth") => Ok(json!({ "bandwidth": cpu::bandwidth(), "flops": cpu::multiply_adds() })),
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
        Some("explain") => match job.as_ref().ok_or("explain comes after prepare")? {
            Job::Retrieval(job) => Ok(json!({ "explanation": job.explain()?.to_string() })),
            Job::Search(_) | Job::Family(_) => Ok(json!({})),
        },
        Some("start") => start(request),
        Some("sizes") => Ok(json!({ "sizes": SIZES.iter().map(size).collect::<Vec<_>>() })),
        _ => Err("op: expected prepare, run, bandwidth, floors, explain, start or sizes".into()),
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
