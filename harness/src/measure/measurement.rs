//! One retrieval that is measured, again and again: made, judged by the reference, timed.

use std::hint::black_box;

use attractor::explain::Explanation;
use attractor::reference::Problem;
use attractor::{Device, Memory, MemoryOptions, Precision, Retrieval, RetrieveOptions};

use super::Result;
use super::gpu::{Gpu, Recorded};
use crate::clock::repeat;
use crate::rng::normal;
use crate::workloads::Workload;

/// A memory and its queries.
pub struct Measurement {
    memory: Memory,
    queries: Vec<f32>,
    options: RetrieveOptions,
    /// On a GPU with a clock, the same on a device of the harness.
    clocked: Option<(Gpu, Recorded)>,
}

/// What is known of a job before it is timed.
pub struct Told {
    /// By how much sampled answers are off the reference.
    pub error: f64,
    /// Updates of each query, in order.
    pub steps: Vec<u32>,
}

impl Told {
    /// The mean number of updates of a query.
    pub fn mean_steps(&self) -> f64 {
        self.steps.iter().map(|steps| f64::from(*steps)).sum::<f64>() / self.steps.len() as f64
    }
}

/// Seconds of each of several retrievals.
pub struct Times {
    /// From a call until its answers are in the caller's memory.
    pub whole: Vec<f64>,
    /// By the device's own clock, of what was recorded.
    pub device: Vec<f64>,
    /// Of the thread that recorded.
    pub recording: Vec<f64>,
}

impl Measurement {
    /// Stores the patterns, retrieves once, and judges three answers.
    pub fn prepare(workload: &Workload, on: &Device) -> Result<(Self, Told)> {
        let Workload { batch, patterns, dim, rule, precision, .. } = *workload;
        let keys = normal(1, patterns * dim);
        let mut queries = normal(2, batch * dim);
        let near = (workload.near * batch as f64) as usize;
        for (q, query) in queries.chunks_exact_mut(dim).take(near).enumerate() {
            let key = &keys[q * 7919 % patterns * dim..][..dim];
            query.iter_mut().zip(key).for_each(|(x, k)| *x = k + 0.3 * *x);
        }
        let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(on)?;
        memory.add(&keys)?;
        let options = workload.options.clone();
        let clocked = match Gpu::open(on) {
            Ok(gpu) => {
                let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(&gpu.handle(on)?)?;
                memory.add(&keys)?;
                let recorded = Recorded::new(&gpu, memory, &queries, options.clone());
                recorded.run(&gpu)?;
                Some((gpu, recorded))
            }
            Err(_) => None,
        };
        let job = Self { memory, queries, options, clocked };
        let got = job.run()?;
        let error = judge(workload, keys, &job.queries, &got)?;
        let mut steps = got.steps;
        steps.sort_unstable();
        Ok((job, Told { error, steps }))
    }

    fn run(&self) -> Result<Retrieval> {
        Ok(self.memory.retrieve_blocking(&self.queries, &self.options)?)
    }

    /// Retrieves for about `seconds`, and as long once more by the device's clock where it has one.
    pub fn time(&self, seconds: f64) -> Result<Times> {
        let whole = repeat(seconds, || self.run().map(|retrieval| drop(black_box(retrieval))))?;
        let (mut device, mut recording) = (Vec::new(), Vec::new());
        if let Some((gpu, recorded)) = &self.clocked {
            repeat::<Box<dyn std::error::Error>>(seconds, || {
                let (on_device, record) = recorded.run(gpu)?;
                device.push(on_device);
                recording.push(record);
                Ok(())
            })?;
        }
        Ok(Times { whole, device, recording })
    }

    /// How the memory answers.
    pub fn explain(&self) -> Result<Explanation> {
        Ok(self.memory.explain(self.queries.len() / self.memory.dim(), &self.options)?)
    }
}

/// By how much three of the answers are off the reference, which is to be little.
fn judge(workload: &Workload, keys: Vec<f32>, queries: &[f32], got: &Retrieval) -> std::result::Result<f64, Wrong> {
    let Workload { batch, dim, rule, precision, .. } = *workload;
    // Eight bits are judged by what they stand for, which their rounding is part of.
    let (stored, tolerance) = match precision {
        Precision::F16 if workload.options.get_round_to_half() => (keys.into_iter().map(half).collect(), 2e-2),
        Precision::F16 => (keys.into_iter().map(half).collect(), 2e-4),
        Precision::I8 => (keys, 2e-2),
        Precision::F32 | Precision::I8Exact => (keys, 2e-4),
        other => unreachable!("{other} is of another version"),
    };
    let problem = Problem::new(rule, dim, &stored);
    let mut error = 0.0f64;
    for q in [0, batch / 2, batch - 1] {
        let expected = problem.retrieve(&queries[q * dim..(q + 1) * dim], got.steps[q]);
        let errors = got.output_row(q).iter().zip(&expected.output).map(|(y, e)| (f64::from(*y) - e).abs());
        error = errors.fold(error, |most, error| if error.is_nan() { f64::INFINITY } else { most.max(error) });
    }
    if error > tolerance { Err(Wrong { error, tolerance }) } else { Ok(error) }
}

/// An answer that is not what the reference gives.
#[derive(Debug, thiserror::Error)]
#[error("an answer is off the reference by {error:.1e}, where {tolerance:.0e} is allowed")]
pub struct Wrong {
    error: f64,
    tolerance: f64,
}

/// The nearest number with 11 bits, which a half is unless it is very small.
fn half(v: f32) -> f32 {
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

#[cfg(test)]
mod tests {
    use attractor::Rule;

    use super::*;

    #[test]
    fn a_wrong_answer_is_not_timed() {
        let (batch, patterns, dim) = (5, 40, 6);
        for precision in Precision::ALL {
            let (rule, options) = (Rule::softmax(1.0), RetrieveOptions::steps(1));
            let load = Workload { batch, patterns, dim, rule, precision, options, near: 0.0 };
            let (job, told) = Measurement::prepare(&load, &Device::cpu()).unwrap();
            let (keys, got) = (normal(1, patterns * dim), job.run().unwrap());
            assert_eq!(judge(&load, keys.clone(), &job.queries, &got).unwrap(), told.error);
            for (q, wrong) in [(0, 0.03), (batch / 2, -0.03), (batch - 1, f32::NAN)] {
                let mut damaged = got.clone();
                damaged.output[q * dim + 1] += wrong;
                let refused = judge(&load, keys.clone(), &job.queries, &damaged);
                assert!(refused.is_err(), "{precision:?}: answer {q} off by {wrong}");
            }
        }
    }
}
