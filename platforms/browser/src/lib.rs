//! The cases of `attractor verify`, and how the library behaves where nothing can wait: on WebGPU and on the CPU
//! engine, in a browser or under Node. Each result is told as one line of JSON.

mod behaviour;

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::internals::KERNELS;
use attractor::{Device, wgpu};
use harness::checks::{Answered, Check, Outcome, checks};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Has panics say where they are.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Who is told of results: a function of a string, whose promise is awaited.
struct Listener(js_sys::Function);

impl Listener {
    /// Tells, and lets the browser do what else it has to do.
    async fn tell(&self, result: &Value) -> Result<(), JsValue> {
        let told = self.0.call1(&JsValue::NULL, &JsValue::from_str(&result.to_string()))?;
        JsFuture::from(js_sys::Promise::resolve(&told)).await.map(|_| ())
    }
}

/// Runs every case on `engine`, `cpu` or `webgpu`, then tries how the library behaves there. `tell` gets first what
/// runs and how many results there will be, then each result.
#[wasm_bindgen]
pub async fn verify(engine: String, tell: js_sys::Function) -> Result<(), JsValue> {
    let listener = Listener(tell);
    let device = open(&engine).await.map_err(|error| JsValue::from_str(&error.to_string()))?;
    let checks = checks();
    let behaviours = behaviour::of(&device);
    let features = device.wgpu().map(|(device, _)| device.features());
    // Cooperative matrices are native only.
    let stems = KERNELS.iter().map(|kernel| kernel.stem).filter(|stem| *stem != "fused_matrix");
    let portable: Vec<&str> = if device.is_cpu() { Vec::new() } else { stems.collect() };
    let begun = json!({
        "engine": engine,
        "device": device.info().to_string(),
        "features": features.map(|features| features.iter_names().map(|(name, _)| name).collect::<Vec<_>>()),
        "cases": checks.len(),
        "behaviours": behaviours.len(),
        "portable": portable,
    });
    listener.tell(&begun).await?;
    for check in &checks {
        listener.tell(&result(check, &device).await).await?;
    }
    for (name, behaviour) in behaviours {
        let wrong = behaviour.await.err();
        listener.tell(&json!({ "behaviour": name, "wrong": wrong })).await?;
    }
    Ok(())
}

async fn open(engine: &str) -> attractor::Result<Device> {
    match engine {
        "cpu" => Ok(Device::cpu()),
        _ => {
            let backends = wgpu::Backends::BROWSER_WEBGPU;
            let options = DeviceOptions::default().backends(backends).software(SoftwareAdapters::Allow);
            Device::with_options(&options).await
        }
    }
}

/// What came of one case.
async fn result(check: &Check, device: &Device) -> Value {
    let (mut reached, mut strategy) = (Vec::new(), "");
    let answered = match check.ask(device) {
        Ok(asked) => {
            reached = asked.told.kernels.iter().map(|work| (work.kernel, work.setting.clone())).collect();
            strategy = asked.told.strategy;
            let (memory, queries) = (&asked.memory, &check.case.queries);
            let answered = async {
                let got = memory.retrieve(queries, &asked.options)?.await?;
                let hits = match &asked.nearest {
                    Some(options) => Some(memory.search(queries, options)?.await?),
                    None => None,
                };
                Ok(Answered { got, hits })
            };
            answered.await.map(|answered| (answered, asked.told))
        }
        Err(error) => Err(error),
    };
    let (verdict, share, why, kernels) = match check.judge(device, answered) {
        Ok((Outcome::Share(share), kernels)) if share <= 1.0 => ("right", Some(share), String::new(), kernels),
        Ok((Outcome::Share(share), kernels)) => ("wrong", Some(share), format!("share of the bound {share}"), kernels),
        Ok((Outcome::Unsupported(why), kernels)) => ("unsupported", None, why, kernels),
        Ok((Outcome::Refused, kernels)) => ("refused", None, String::new(), kernels),
        Err(error) => ("failed", None, error.to_string(), String::new()),
    };
    json!({
        "case": check.what,
        "batch": check.case.batch(),
        "patterns": check.case.patterns(),
        "dim": check.case.dim,
        "kernels": kernels,
        "reached": if verdict == "right" { reached } else { Vec::new() },
        "strategy": strategy,
        "verdict": verdict,
        "share": share,
        "why": why,
    })
}
