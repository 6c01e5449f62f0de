//! A tuning as JSON, which belongs to one adapter under one driver and one version of this crate.

use serde_json::{Map, Value, json};

use super::Tuning;

/// What says that a file is one of these, and how its rest is to be read.
const FORMAT: &str = "attractor.tuning 2";

impl Tuning {
    /// The text of a file with this tuning of `adapter`.
    pub(crate) fn to_json(self, adapter: &wgpu::AdapterInfo) -> String {
        let settings: Map<String, Value> =
            self.settings().map(|(name, value)| (name.to_owned(), value.into())).collect();
        format!("{:#}\n", json!({ "format": FORMAT, "for": identity(adapter), "settings": settings }))
    }
}

/// The tuning for `adapter` that the text of a file has.
pub fn from_json(text: &[u8], adapter: &wgpu::AdapterInfo) -> Result<Tuning, String> {
    let all: Value = serde_json::from_slice(text).map_err(|error| format!("no tuning: {error}"))?;
    if all["format"] != FORMAT {
        return Err(format!("no tuning: expected the format \"{FORMAT}\""));
    }
    for (name, here) in identity(adapter) {
        if all["for"][&name] != here {
            return Err(format!("for another device: {name} is {}, not {here}", all["for"][&name]));
        }
    }
    let settings = all["settings"].as_object().ok_or("no tuning: it has no settings")?;
    let mut tuning = Tuning::of(adapter.device_type);
    for (name, _) in tuning.settings() {
        if let Some(value) = settings.get(name) {
            tuning.set(name, value.as_u64().ok_or_else(|| format!("{name} is {value}, not a whole number"))?);
        }
    }
    Ok(tuning)
}

/// What a tuning belongs to.
fn identity(adapter: &wgpu::AdapterInfo) -> Map<String, Value> {
    let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = adapter;
    let all: [(&str, Value); 7] = [
        ("name", name.as_str().into()),
        ("vendor", (*vendor).into()),
        ("device", (*device).into()),
        ("backend", format!("{backend:?}").into()),
        ("driver", driver.as_str().into()),
        ("driver_info", driver_info.as_str().into()),
        ("attractor", env!("CARGO_PKG_VERSION").into()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
