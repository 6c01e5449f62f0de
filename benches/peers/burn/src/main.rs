//! burn's side of `run.py`: the same requests and answers as `measure.rs`, one JSON value a line.
//!
//! softmax is burn's own attention or its product, softmax and product, whichever is faster when it is prepared; both
//! are judged by plain loops on some rows. A search is a product and `topk_with_indices`, of rows that are stored with
//! norm 1. What is timed ends with the output on the host, as ours does.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use harness::rng::normal;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Above every rounding of f32 at these sizes, and below what a wrong kernel gives.
const TOLERANCE: f64 = 2e-4;

/// A device of burn's, opened once: its runtime cannot be opened again.
struct Opened {
    asked: Value,
    device: Device,
    told: String,
}

impl Opened {
    fn new(request: &Value) -> Result<Self> {
        let api = match request["device"].as_str().unwrap_or("auto") {
            "auto" => WgpuBackend::Auto,
            "vulkan" => WgpuBackend::Vulkan,
            "gl" => WgpuBackend::Gl,
            "metal" => WgpuBackend::Metal,
            "dx12" => WgpuBackend::Dx12,
            other => return Err(format!("burn's wgpu backend has no device {other}").into()),
        };
        let mut options = Device::wgpu_options().graphics_api(api);
        if request["software"].as_bool().unwrap_or(false) {
            options = options.device_kind(DeviceKind::Cpu);
        }
        let (device, setup) = options.init_with_setup()?;
        let info = setup.adapter.get_info();
        let told = format!("{}, {}, {} {}", info.name, info.backend, info.driver, info.driver_info);
        Ok(Self { asked: named(request), device, told })
    }
}

/// What a request says of its device.
fn named(request: &Value) -> Value {
    json!([request["device"], request["software"]])
}

#[derive(Clone, Copy)]
enum How {
    Attention,
    Products,
    /// The largest scores, so many.
    Search(usize),
}

struct Job {
    keys: Tensor<4>,
    queries: Tensor<4>,
    beta: f64,
    how: How,
}

impl Job {
    /// The output, waited for: what burn reads back arrives only when it is looked at.
    fn run(&self, how: How) -> Result<Vec<f32>> {
        let (q, k) = (self.queries.clone(), self.keys.clone());
        let output = match how {
            How::Attention => {
                let options = AttentionModuleOptions { scale: Some(self.beta), ..Default::default() };
                attention(q, k.clone(), k, None, None, options)
            }
            How::Products => softmax(q.matmul(k.clone().transpose()) * self.beta, 3).matmul(k),
            How::Search(top) => {
                let (similarity, positions) = q.matmul(k.transpose()).topk_with_indices(top, 3);
                // The positions come to the host, too.
                positions.try_into_data()?;
                similarity
            }
        };
        let data = output.try_into_data()?;
        Ok(data.as_slice::<f32>().map_err(|error| format!("{error:?}"))?.to_vec())
    }
}

/// The largest error of some rows of `output` against plain loops.
fn error_of(output: &[f32], keys: &[f32], queries: &[f32], dim: usize, beta: f64) -> f64 {
    let batch = queries.len() / dim;
    let mut error = 0.0f64;
    for q in [0, batch / 2, batch - 1] {
        let query = &queries[q * dim..(q + 1) * dim];
        let scores: Vec<f64> = keys
            .chunks_exact(dim)
            .map(|key| beta * key.iter().zip(query).map(|(k, x)| f64::from(*k) * f64::from(*x)).sum::<f64>())
            .collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sums = vec![0.0; dim];
        let mut total = 0.0;
        for (key, score) in keys.chunks_exact(dim).zip(&scores) {
            let weight = (score - most).exp();
            total += weight;
            sums.iter_mut().zip(key).for_each(|(sum, k)| *sum += weight * f64::from(*k));
        }
        let got = &output[q * dim..(q + 1) * dim];
        // A maximum that drops NaN would hide it.
        for (sum, y) in sums.iter().zip(got) {
            let off = (f64::from(*y) - sum / total).abs();
            error = if off.is_nan() { f64::INFINITY } else { error.max(off) };
        }
    }
    error
}

fn prepare(request: &Value, opened: &Opened) -> Result<(Job, Value)> {
    let number = |name: &str| request[name].as_u64().ok_or_else(|| format!("{name}: expected a count"));
    let (batch, patterns, dim) = (number("batch")? as usize, number("patterns")? as usize, number("dim")? as usize);
    if let Some(top) = request["search"].as_u64() {
        return search(opened, (batch, patterns, dim), top as usize);
    }
    let rule = request["rule"].as_str().unwrap_or("softmax");
    if rule != "softmax" {
        return Err(format!("no peer for the rule {rule}").into());
    }
    let beta = request["beta"].as_f64().unwrap_or_else(|| (dim as f64).sqrt().recip());
    let (keys, queries) = (normal(1, patterns * dim), normal(2, batch * dim));
    let rows = |rows: &[f32]| {
        let shape = [1, 1, rows.len() / dim, dim];
        Tensor::<4>::from_data(TensorData::new(rows.to_vec(), shape), &opened.device)
    };
    let mut job = Job { keys: rows(&keys), queries: rows(&queries), beta, how: How::Products };
    let mut tried = Vec::new();
    let mut best = f64::INFINITY;
    for (how, name) in [(How::Attention, "attention"), (How::Products, "matmul, softmax, matmul")] {
        // Compiles, and tunes itself.
        let first = Instant::now();
        let error = error_of(&job.run(how)?, &keys, &queries, dim, beta);
        let first = first.elapsed().as_secs_f64();
        let time = (0..2)
            .map(|_| {
                let start = Instant::now();
                job.run(how).map(|_| start.elapsed().as_secs_f64())
            })
            .try_fold(f64::INFINITY, |least, time| time.map(|time| least.min(time)))?;
        let holds = error <= TOLERANCE;
        if holds && time < best {
            (best, job.how) = (time, how);
        }
        // JSON has no infinity.
        let error = if error.is_finite() { json!(error) } else { json!("not finite") };
        tried.push(json!({ "how": name, "error": error, "holds": holds, "first": first, "time": time }));
    }
    if best.is_infinite() {
        return Err(format!("off plain loops: {}", json!(tried)).into());
    }
    let how = if matches!(job.how, How::Attention) { "attention" } else { "matmul, softmax, matmul" };
    Ok((job, json!({ "device": opened.told, "burn": "0.22", "how": how, "tried": tried })))
}

/// `rows` of `dim` floats, each divided by its norm.
fn normalised(mut rows: Vec<f32>, dim: usize) -> Vec<f32> {
    for row in rows.chunks_exact_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    rows
}

/// A search of the `top` largest cosines, judged on some queries by plain loops.
fn search(opened: &Opened, (batch, patterns, dim): (usize, usize, usize), top: usize) -> Result<(Job, Value)> {
    let [keys, queries] = [(1, patterns), (2, batch)].map(|(seed, rows)| normalised(normal(seed, rows * dim), dim));
    let rows = |rows: &[f32]| {
        let shape = [1, 1, rows.len() / dim, dim];
        Tensor::<4>::from_data(TensorData::new(rows.to_vec(), shape), &opened.device)
    };
    let job = Job { keys: rows(&keys), queries: rows(&queries), beta: 1.0, how: How::Search(top) };
    // Compiles, and tunes itself.
    let first = Instant::now();
    let got = job.run(job.how)?;
    let first = first.elapsed().as_secs_f64();
    let mut error = 0.0f64;
    for q in [0, batch / 2, batch - 1] {
        let query = &queries[q * dim..(q + 1) * dim];
        let mut falling: Vec<f64> = keys
            .chunks_exact(dim)
            .map(|key| key.iter().zip(query).map(|(k, x)| f64::from(*k) * f64::from(*x)).sum())
            .collect();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        for (expected, got) in falling.iter().zip(&got[q * top..(q + 1) * top]) {
            error = error.max((expected - f64::from(*got)).abs());
        }
    }
    if error > TOLERANCE {
        return Err(format!("off plain loops by {error}").into());
    }
    Ok((job, json!({ "device": opened.told, "burn": "0.22", "how": "matmul, topk_with_indices", "first": first })))
}

fn answer(request: &Value, opened: &mut Option<Opened>, job: &mut Option<Job>) -> Result<Value> {
    match request["op"].as_str() {
        Some("prepare") => {
            *job = None;
            if opened.is_none() {
                *opened = Some(Opened::new(request)?);
            }
            let opened = opened.as_ref().ok_or("no device")?;
            if opened.asked != named(request) {
                return Err("one process measures one device".into());
            }
            let (prepared, told) = prepare(request, opened)?;
            *job = Some(prepared);
            Ok(told)
        }
        Some("run") => {
            let job = job.as_ref().ok_or("run comes after prepare")?;
            let until = Instant::now() + Duration::from_secs_f64(request["seconds"].as_f64().unwrap_or(0.5));
            let mut times = Vec::new();
            while times.len() < 3 || Instant::now() < until {
                let start = Instant::now();
                job.run(job.how)?;
                times.push(start.elapsed().as_secs_f64());
            }
            Ok(json!({ "times": times }))
        }
        _ => Err("op: expected prepare or run".into()),
    }
}

fn main() -> Result<()> {
    let (mut opened, mut job) = (None, None);
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let said =
            answer(&request, &mut opened, &mut job).unwrap_or_else(|error| json!({ "failed": error.to_string() }));
        println!("{said}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
