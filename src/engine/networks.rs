//! Networks of memories, on the engine that all of them are on.

use super::{Engine, Kind};
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::gpu::network::NetworkEngine;
use crate::retrieval::network::{NetworkRequest, NetworkStates};
use crate::retrieval::options::RetrieveOptions;
use crate::store::{Snapshot, View};
use crate::{cpu, gpu, wait};

/// The memory of one update of a network: its engine, and its patterns as they are now.
pub(crate) struct NetworkMemory<'m> {
    pub engine: &'m Engine,
    pub view: View,
    pub snapshot: Snapshot,
}

/// The memories, sorted by their engines.
enum Engines<'m> {
    Cpu(Vec<(cpu::engine::Engine, View)>),
    Gpu(Vec<NetworkEngine<'m>>),
}

/// # Errors
/// [`Error::Parameter`] where not all of them are on one device; [`Error::Unsupported`] where rows stream through it.
fn engines<'m>(operation: &'static str, memories: Vec<NetworkMemory<'m>>) -> Result<Engines<'m>> {
    let (mut on_host, mut on_device) = (Vec::new(), Vec::new());
    for NetworkMemory { engine, view, snapshot } in memories {
        match &engine.kind {
            Kind::Cpu(engine) => on_host.push((engine.clone(), view)),
            Kind::Gpu(engine) if engine.streams() => {
                let what = "a network with a memory that its device does not hold (MemoryOptions::device_bytes)";
                return Err(Error::Unsupported { operation, what: what.into() });
            }
            Kind::Gpu(engine) => on_device.push((engine, view, snapshot)),
        }
    }
    let same = on_device.windows(2).all(|pair| pair[0].0.shares_device(pair[1].0));
    match (on_host.is_empty(), on_device.is_empty()) {
        (false, true) => Ok(Engines::Cpu(on_host)),
        (true, false) if same => Ok(Engines::Gpu(on_device)),
        _ => Err(Error::Parameter {
            operation,
            parameter: "memory",
            expected: "on the device of the other memories",
            got: "memories on several devices".into(),
        }),
    }
}

/// Begins what a network is asked, without waiting for the device. The memories are those of the request's steps.
pub(crate) fn begin_network(
    operation: &'static str,
    request: NetworkRequest,
    starts: Vec<Vec<f32>>,
    memories: Vec<NetworkMemory<'_>>,
    options: &RetrieveOptions,
) -> Result<Answer<NetworkStates>> {
    match engines(operation, memories)? {
        Engines::Cpu(engines) => cpu::network::begin(operation, request, starts, engines, options),
        Engines::Gpu(engines) => {
            gpu::network::begin(operation, request, starts, engines, options, gpu::Wait::Forbidden)
        }
    }
}

/// Computes what a network is asked on this thread.
pub(crate) fn network(
    operation: &'static str,
    request: NetworkRequest,
    starts: Vec<Vec<f32>>,
    memories: Vec<NetworkMemory<'_>>,
    options: &RetrieveOptions,
) -> Result<NetworkStates> {
    match engines(operation, memories)? {
        Engines::Cpu(engines) => cpu::network::network(operation, &request, starts, &engines, options),
        Engines::Gpu(engines) => {
            wait::check(operation)?;
            let answer = gpu::network::begin(operation, request, starts, engines, options, gpu::Wait::Allowed)?;
            crate::pending::Pending::new(answer).wait()
        }
    }
}

/// The engines that record what a network is asked into command encoders.
///
/// # Errors
/// Those of [`engines`]; [`Error::NeedsGpu`] on the CPU engine.
pub(crate) fn recorders<'m>(
    operation: &'static str,
    memories: Vec<NetworkMemory<'m>>,
) -> Result<Vec<NetworkEngine<'m>>> {
    match engines(operation, memories)? {
        Engines::Gpu(engines) => Ok(engines),
        Engines::Cpu(_) => Err(Error::NeedsGpu {
            operation,
            why: "the memories live on the CPU engine, which has no command encoder".into(),
        }),
    }
}
