//! Tunings in files: JSON that belongs to one adapter under one driver and one version of this crate.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Tuning;
use crate::device::{Device, Kind};
use crate::error::{Error, Result};
use crate::file_error::{refused, unfit};
use crate::{cache, regular_file};

/// What says that a file is one of these, and how its rest is to be read.
const FORMAT: &str = "attractor.tuning 1";
/// Bytes of a file, at the most: some twenty times what is written.
const LARGEST: u64 = 64 << 10;

impl Tuning {
    /// The file of `folder` in which the tuning for `device` is kept. Other adapters, drivers and versions of this crate
    /// have files of other names. `None` for the CPU engine, which has no use for one.
    pub fn file(device: &Device, folder: &Path) -> Option<PathBuf> {
        match &device.kind {
            Kind::Cpu => None,
            Kind::Gpu(context) => Some(folder.join(format!("tuning-{}.json", cache::key(&context.adapter)))),
        }
    }

    /// Reads what [`Tuning::write`] wrote. Settings that the file lacks are those of the device's kind, and what else is in
    /// it is left alone.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read, is no regular file, is no tuning, has a setting that is no whole
    /// number, or was written for another adapter, driver or version of this crate. [`Error::Device`] for the CPU
    /// engine.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        const OPERATION: &str = "Tuning::read";
        let adapter = adapter(OPERATION, device)?;
        let fail = |why: String| unfit(OPERATION, path, format!("{}: {why}", path.display()));
        let text = regular_file::read(path, LARGEST).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => fail("too large for a tuning".into()),
            _ => refused(OPERATION, path, "read")(error),
        })?;
        parse(&text, adapter).map_err(fail)
    }

    /// Writes this tuning of `device` atomically, and makes the file's folder where it is absent.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, and where `path` is neither absent nor a regular file; what is at
    /// `path` is then unchanged. [`Error::Device`] for the CPU engine.
    pub fn write(&self, path: &Path, device: &Device) -> Result<()> {
        const OPERATION: &str = "Tuning::write";
        let adapter = adapter(OPERATION, device)?;
        let settings: Map<String, Value> =
            self.settings().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let text = format!("{:#}\n", json!({ "format": FORMAT, "for": identity(adapter), "settings": settings }));
        cache::write(path, text.as_bytes()).map_err(refused(OPERATION, path, "write"))
    }
}

/// The tuning for `adapter` that the text of a file has.
pub fn parse(text: &[u8], adapter: &wgpu::AdapterInfo) -> Result<Tuning, String> {
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

impl Device {
    /// Sets the tuning that is kept in `folder` for this device ([`Tuning::file`]), if there is one; whether there is. One
    /// that cannot be read, or is of something else, is left alone, which is said through `log`.
    pub fn load_tuning(&self, folder: &Path) -> bool {
        let Some(path) = Tuning::file(self, folder).filter(|path| path.exists()) else { return false };
        match Tuning::read(&path, self) {
            Ok(tuning) => {
                log::info!("attractor: tuned by {}", path.display());
                self.set_tuning(tuning);
                true
            }
            Err(error) => {
                log::warn!("attractor: {error}; going by the defaults");
                false
            }
        }
    }
}

fn adapter<'d>(operation: &'static str, device: &'d Device) -> Result<&'d wgpu::AdapterInfo> {
    match &device.kind {
        Kind::Cpu => Err(Error::Device { operation, why: "the CPU engine has no plans to tune".into() }),
        Kind::Gpu(context) => Ok(&context.adapter),
    }
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
