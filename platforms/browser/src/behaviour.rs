//! How the library behaves where nothing can wait: what each call gives, and that errors come with the answers.

use std::pin::Pin;
use std::time::Duration;

use attractor::device::{AdapterChoice, DeviceOptions, user_cache_folder};
use attractor::internals::{IndexCheck, watch};
use attractor::partial::PartialOptions;
use attractor::record::Rows;
use attractor::{
    Device, Error, Memory, MemoryOptions, PatternId, Pending, Retrieval, RetrieveOptions, Rule, Separation, Similarity,
    wgpu,
};
use harness::Rng;
use wasm_bindgen_futures::JsFuture;

/// What is wrong, if anything is.
type Tried = Result<(), String>;
type Behaviour = (&'static str, Pin<Box<dyn Future<Output = Tried>>>);

const DIM: usize = 24;
const PATTERNS: usize = 700;
const QUERIES: usize = 9;

/// All that apply to `device`.
pub fn of(device: &Device) -> Vec<Behaviour> {
    fn one(name: &'static str, tried: impl Future<Output = Tried> + 'static) -> Behaviour {
        (name, Box::pin(tried))
    }
    let both = [
        one("an answer that is asked for once a frame", once_a_frame(device.clone())),
        one("partial states, merged", partials(device.clone())),
        one("files are refused", files(device.clone())),
    ];
    if device.is_cpu() {
        let cpu = one("calls that wait answer on the CPU engine", cpu_answers_at_once(device.clone()));
        return both.into_iter().chain([cpu]).collect();
    }
    let gpu = [
        one("calls that would wait are refused", waiting_is_refused(device.clone())),
        one("a host copy is read and rebuilt without waiting", host_copy(device.clone())),
        one("answers of an encoder of the caller's", recorded(device.clone())),
        one("a job, slice by slice", job(device.clone())),
        one("a shader that is refused fails the answer", refused_shader()),
        one("a buffer of another device fails the answer", other_device(device.clone())),
        one("a device that is lost fails the answer", lost_device()),
    ];
    both.into_iter().chain(gpu).collect()
}

fn expect(right: bool, what: &str) -> Tried {
    if right { Ok(()) } else { Err(what.to_owned()) }
}

fn said(error: Error) -> String {
    error.to_string()
}

/// A device of its own, to be broken.
async fn another_device() -> Result<Device, String> {
    let options = DeviceOptions::default().adapter(AdapterChoice::Index(0));
    Device::with_options(&options).await.map_err(said)
}

fn memory(device: &Device, rule: Rule, host_copy: bool) -> Result<Memory, String> {
    let mut options = MemoryOptions::new(DIM, rule);
    if host_copy {
        options = options.host_copy();
    }
    let mut memory = options.build(device).map_err(said)?;
    memory.add(&Rng(71).vector(PATTERNS * DIM)).map_err(said)?;
    Ok(memory)
}

fn queries() -> Vec<f32> {
    Rng(72).vector(QUERIES * DIM)
}

/// What the CPU engine answers, which the cases hold against the reference.
fn native(rule: Rule, options: &RetrieveOptions) -> Result<Retrieval, String> {
    memory(&Device::cpu(), rule, false)?.retrieve_blocking(&queries(), options).map_err(said)
}

fn same(got: &Retrieval, expected: &Retrieval) -> Tried {
    let worst = got.output.iter().zip(&expected.output).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    expect(got.output.len() == expected.output.len() && worst < 1e-5, &format!("off by {worst}"))
}

/// Lets the browser go on.
async fn turn() {
    let wait = js_sys::Function::new_with_args("done", "setTimeout(done, 1)");
    let promise = js_sys::Promise::new(&mut |done, _| {
        let _ = wait.call1(&wasm_bindgen::JsValue::NULL, &done);
    });
    let _ = JsFuture::from(promise).await;
}

async fn taken<T>(pending: &mut Pending<T>) -> Result<T, String> {
    for _ in 0..30_000 {
        if let Some(answer) = pending.try_take() {
            return answer.map_err(said);
        }
        turn().await;
    }
    Err("no answer within 30 s".into())
}

async fn once_a_frame(device: Device) -> Tried {
    let rule = Rule::softmax(2.0);
    let options = RetrieveOptions::steps(2);
    let mut pending = memory(&device, rule, false)?.retrieve(&queries(), &options).map_err(said)?;
    same(&taken(&mut pending).await?, &native(rule, &options)?)
}

async fn partials(device: Device) -> Tried {
    for separation in
        [Separation::Softmax, Separation::Sparsemax, Separation::TopK { k: 5 }, Separation::TopK { k: 600 }]
    {
        let rule = Rule::new(Similarity::Dot, separation, 2.0);
        let (memory, queries) = (memory(&device, rule, false)?, queries());
        let part = |subset| PartialOptions::default().subset(subset);
        let left = memory.retrieve_partial(&queries, &part(0..300)).map_err(said)?.await.map_err(said)?;
        let right = memory.retrieve_partial(&queries, &part(300..PATTERNS)).map_err(said)?.await.map_err(said)?;
        let expected = native(rule, &RetrieveOptions::default())?;
        for ((left, right), expected) in left.into_iter().zip(right).zip(expected.output.chunks_exact(DIM)) {
            let merged = left.merge(right).map_err(said)?.finish();
            let worst = merged.output.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            expect(worst < 1e-5, &format!("{separation:?} is off by {worst}"))?;
        }
    }
    Ok(())
}

async fn files(device: Device) -> Tried {
    let memory = memory(&device, Rule::softmax(1.0), true)?;
    let saved = memory.save("memory.safetensors").expect_err("there is no file system");
    expect(matches!(saved, Error::File { .. } | Error::Unsupported { .. }), &format!("save: {saved}"))?;
    let loaded = Memory::load(&device, "memory.safetensors").expect_err("there is no file system");
    expect(matches!(loaded, Error::File { .. }), &format!("load: {loaded}"))?;
    expect(user_cache_folder().is_none(), "there is a cache folder")?;
    device.save_pipeline_cache();
    Ok(())
}

async fn cpu_answers_at_once(device: Device) -> Tried {
    let memory = memory(&device, Rule::softmax(1.0), false)?;
    let queries = queries();
    let waited = memory.retrieve_blocking(&queries, &RetrieveOptions::default()).map_err(said)?;
    let awaited = memory.retrieve(&queries, &RetrieveOptions::default()).map_err(said)?.await.map_err(said)?;
    expect(waited.output == awaited.output, "the two differ")?;
    let begun = memory.retrieve(&queries, &RetrieveOptions::default()).map_err(said)?;
    expect(begun.wait().map_err(said)?.output == waited.output, "begin differs")?;
    let parts = memory.retrieve_partial_blocking(&queries, &PartialOptions::default()).map_err(said)?;
    expect(parts.len() == QUERIES, "partial states are missing")?;
    memory.get(PatternId(3)).map_err(said)?;
    let rebuilt = memory.rebuild(&device).map_err(said)?;
    expect(
        rebuilt.retrieve_blocking(&queries, &RetrieveOptions::default()).map_err(said)?.output == waited.output,
        "the rebuilt memory differs",
    )
}

async fn waiting_is_refused(device: Device) -> Tried {
    fn refused<T>(what: &str, got: attractor::Result<T>) -> Tried {
        match got {
            Err(Error::Unsupported { .. }) => Ok(()),
            Err(error) => Err(format!("{what}: {error}")),
            Ok(_) => Err(format!("{what} has waited")),
        }
    }
    let memory = memory(&device, Rule::softmax(1.0), false)?;
    let queries = queries();
    refused("retrieve_blocking", memory.retrieve_blocking(&queries, &RetrieveOptions::default()))?;
    refused("retrieve_partial_blocking", memory.retrieve_partial_blocking(&queries, &PartialOptions::default()))?;
    refused("get", memory.get(PatternId(0)))?;
    refused("rebuild", memory.rebuild(&Device::cpu()))?;
    refused("wait", memory.retrieve(&queries, &RetrieveOptions::default()).map_err(said)?.wait())
}

async fn host_copy(device: Device) -> Tried {
    let mut kept = memory(&device, Rule::softmax(1.0), true)?;
    let id = kept.add(&[0.5; DIM]).map_err(said)?.get(0).ok_or("no id")?;
    expect(kept.get(id).map_err(said)?.key == [0.5; DIM], "another pattern")?;
    let expected = kept.retrieve(&queries(), &RetrieveOptions::default()).map_err(said)?.await.map_err(said)?;
    let rebuilt = kept
        .rebuild(&device)
        .map_err(said)?
        .retrieve(&queries(), &RetrieveOptions::default())
        .map_err(said)?
        .await
        .map_err(said)?;
    expect(rebuilt.output == expected.output, "the rebuilt memory differs")
}

/// The queries in a buffer of the caller's.
fn uploaded(device: &wgpu::Device) -> Result<wgpu::Buffer, String> {
    let size = 4 * (QUERIES * DIM) as u64;
    let descriptor =
        wgpu::BufferDescriptor { label: None, size, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: true };
    let buffer = device.create_buffer(&descriptor);
    let bytes: Vec<u8> = queries().iter().flat_map(|x| x.to_le_bytes()).collect();
    buffer.slice(..).get_mapped_range_mut().map_err(|error| error.to_string())?.copy_from_slice(&bytes);
    buffer.unmap();
    Ok(buffer)
}

async fn recorded(device: Device) -> Tried {
    let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 3.0);
    let memory = memory(&device, rule, false)?;
    let (host, queue) = device.wgpu().ok_or("no device")?;
    let queries = uploaded(host)?;
    let mut encoder = host.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let options = RetrieveOptions::steps(2).statistics();
    let mut pending = memory.record_readback(&mut encoder, QUERIES, Rows::new(&queries), &options).map_err(said)?;
    expect(!pending.is_ready(), "there is an answer before anything was submitted")?;
    queue.submit([encoder.finish()]);
    let got = pending.await.map_err(said)?;
    let expected = native(rule, &options)?;
    same(&got, &expected)?;
    let supports =
        |of: &Retrieval| of.statistics.as_ref().map(|all| all.iter().map(|one| one.support).collect::<Vec<_>>());
    expect(supports(&got) == supports(&expected), "other statistics")?;
    let mut encoder = host.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let dropped = memory.record_readback(&mut encoder, QUERIES, Rows::new(&queries), &options).map_err(said)?;
    drop(encoder);
    match dropped.await {
        Err(Error::Cancelled { .. }) => Ok(()),
        other => Err(format!("a dropped encoder gives {:?}", other.map(|_| ()))),
    }
}

async fn job(device: Device) -> Tried {
    let rule = Rule::new(Similarity::Dot, Separation::Entmax { alpha: 1.5 }, 2.0);
    let memory = memory(&device, rule, false)?;
    let (host, queue) = device.wgpu().ok_or("no device")?;
    let options = RetrieveOptions::steps(2);
    let (mut job, mut pending) = memory.job(&queries(), &options).map_err(said)?;
    while !job.is_done() {
        let mut encoder = host.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        job.advance(&mut encoder, Duration::from_micros(50)).map_err(said)?;
        queue.submit([encoder.finish()]);
    }
    expect(job.slices() > 1, "one slice")?;
    same(&taken(&mut pending).await?, &native(rule, &options)?)
}

async fn refused_shader() -> Tried {
    let device = another_device().await?;
    let memory = memory(&device, Rule::softmax(1.0), false)?;
    let (host, _) = device.wgpu().ok_or("no device")?;
    let usage = wgpu::BufferUsages::STORAGE;
    let buffer =
        host.create_buffer(&wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false });
    let rewrite = Box::new(|_: &str, text: &str| format!("{text}\nthis is not WGSL"));
    expect(watch(&device, IndexCheck { rewrite, buffer }), "the device is watched already")?;
    match async { memory.retrieve(&queries(), &RetrieveOptions::default())?.await }.await {
        Err(Error::Internal { operation: "compile kernel", .. }) => Ok(()),
        other => Err(format!("{:?}", other.map(|_| ()))),
    }
}

async fn other_device(device: Device) -> Tried {
    let other = another_device().await?;
    let memory = memory(&device, Rule::softmax(1.0), false)?;
    let queries = uploaded(other.wgpu().ok_or("no device")?.0)?;
    let (host, queue) = device.wgpu().ok_or("no device")?;
    let scope = host.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut encoder = host.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let pending = memory
        .record_readback(&mut encoder, QUERIES, Rows::new(&queries), &RetrieveOptions::default())
        .map_err(said)?;
    queue.submit([encoder.finish()]);
    expect(scope.pop().await.is_some(), "the browser takes it")?;
    match pending.await {
        Err(Error::Internal { .. } | Error::DeviceLost { .. }) => Ok(()),
        other => Err(format!("{:?}", other.map(|_| ()))),
    }
}

async fn lost_device() -> Tried {
    let device = another_device().await?;
    let memory = memory(&device, Rule::softmax(1.0), false)?;
    let first = async { memory.retrieve(&queries(), &RetrieveOptions::default())?.await }.await;
    expect(first.is_ok(), "it fails before it is lost")?;
    let pending = memory.retrieve(&queries(), &RetrieveOptions::default()).map_err(said)?;
    device.wgpu().ok_or("no device")?.0.destroy();
    let (on_its_way, after) =
        (pending.await, async { memory.retrieve(&queries(), &RetrieveOptions::default())?.await }.await);
    for (when, got) in [("on its way", on_its_way), ("after", after)] {
        match got {
            Err(Error::DeviceLost { .. }) => {}
            // It may have been there before.
            Ok(_) if when == "on its way" => {}
            other => return Err(format!("{when}: {:?}", other.map(|_| ()))),
        }
    }
    Ok(())
}
