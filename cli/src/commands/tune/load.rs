//! A shape of retrieval as it is measured: a memory, queries, and the answers under the defaults.

use std::time::Instant;

use attractor::explain::Explanation;
use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity, wgpu};
use harness::Rng;
use harness::workloads::LoadShape;

use super::stopwatch::Stopwatch;
use crate::failure::Failure;

/// At most so many bytes of patterns in one shape: beyond any cache.
const LARGEST: u64 = 256 << 20;

/// A shape as it is measured.
pub struct Load {
    pub name: String,
    pub memory: Memory,
    pub queries: Vec<f32>,
    pub batch: usize,
    pub source: wgpu::Buffer,
    pub target: wgpu::Buffer,
    /// The answers under the defaults, and how far rounding may take others from them.
    pub expected: Vec<f32>,
    pub tolerance: f64,
}

impl Load {
    /// So many patterns that a retrieval takes about `target` seconds; `None` where the least of them take more than
    /// `most`.
    pub fn new(
        device: &Device,
        stopwatch: &Stopwatch,
        shape: &LoadShape,
        target: f64,
        most: f64,
    ) -> Result<Option<Self>, Failure> {
        let LoadShape { batch, dim, patterns, sparse, .. } = *shape;
        let rule = match sparse {
            // Some dozens of patterns have weight.
            true => Rule::new(Similarity::Dot, Separation::Entmax { alpha: 1.5 }, 1.0),
            false => Rule::attention(dim),
        };
        let mut rng = Rng(batch as u64 + ((dim as u64) << 32));
        let queries = rng.vector(batch * dim);
        let mut memory = Memory::new(device, dim, rule)?;
        memory.add(&rng.vector(patterns * dim))?;
        // A sixteenth of the queries takes a quarter of the time or less, and tells of hours before they are spent.
        let sixteenth = || {
            let begin = Instant::now();
            let options = RetrieveOptions::default().plan_for(batch);
            memory.retrieve_blocking(&queries[..batch.div_ceil(16) * dim], &options)?;
            Ok::<f64, Failure>(begin.elapsed().as_secs_f64())
        };
        if most <= 0.0 || (sixteenth()? > most && 4.0 * sixteenth()? > most) {
            return Ok(None);
        }
        let buffer = |contents: &[f32]| {
            let usage = wgpu::BufferUsages::STORAGE;
            let size = size_of_val(contents) as u64;
            let descriptor =
                wgpu::BufferDescriptor { label: Some("attractor.tune"), size, usage, mapped_at_creation: true };
            let buffer = stopwatch.device.create_buffer(&descriptor);
            if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
                view.copy_from_slice(bytemuck::cast_slice(contents));
            }
            buffer.unmap();
            buffer
        };
        let (source, target_buffer) = (buffer(&queries), buffer(&vec![0.0; batch * dim]));
        let mut load = Self {
            name: String::new(),
            memory,
            queries,
            batch,
            source,
            target: target_buffer,
            expected: Vec::new(),
            tolerance: 0.0,
        };
        loop {
            let seconds = stopwatch.time(&load)?;
            if seconds > most {
                return Ok(None);
            }
            if seconds >= target || load.memory.len() as u64 * dim as u64 * 8 > LARGEST {
                break;
            }
            let more = rng.vector(load.memory.len() * dim);
            load.memory.add(&more)?;
        }
        load.expected = load.answers()?;
        let (patterns, rounding) = (load.memory.len(), f64::from(f32::EPSILON));
        // Coordinates are below 1, so no score has terms of more than `beta d` in all.
        let terms = f64::from(rule.beta) * dim as f64;
        load.tolerance = 2.0 * rounding * (32.0 + (patterns as f64).sqrt() + 8.0 * terms);
        load.name = format!("{} (B {batch}, N {patterns}, d {dim})", shape.name);
        Ok(Some(load))
    }

    pub fn answers(&self) -> Result<Vec<f32>, Failure> {
        Ok(self.memory.retrieve_blocking(&self.queries, &RetrieveOptions::default())?.output)
    }

    /// What would be done, however it came to be chosen.
    pub fn explained(&self) -> Result<Explanation, Failure> {
        let mut told = self.memory.explain(self.batch, &RetrieveOptions::default())?;
        told.tuning.clear();
        Ok(told)
    }
}

/// The largest difference of two answers; infinite where one is not a number.
pub fn worst(got: &[f32], expected: &[f32]) -> f64 {
    let errors = got.iter().zip(expected).map(|(got, expected)| f64::from((got - expected).abs()));
    errors.fold(0.0, |most, error| if error.is_nan() { f64::INFINITY } else { most.max(error) })
}
