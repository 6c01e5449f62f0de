//! The tuning of a device in a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::handle::{Backend, Device};
use crate::error::{Error, Result};
use crate::file_error::{refused, unfit};
use crate::tuning::Tuning;
use crate::tuning::file::from_json;
use crate::{cache, regular_file};

/// The most bytes of a file: some twenty times what is written.
const LARGEST: u64 = 64 << 10;

impl Tuning {
    /// The file of `folder` in which the tuning for `device` is kept. Other adapters, drivers and versions of this
    /// crate have files of other names. `None` for the CPU engine, which has no use for one.
    pub fn file(device: &Device, folder: &Path) -> Option<PathBuf> {
        match &device.backend {
            Backend::Cpu => None,
            Backend::Gpu(context) => Some(folder.join(format!("tuning-{}.json", cache::key(&context.adapter)))),
        }
    }

    /// Reads what [`Tuning::write`] wrote. Settings that the file lacks are those of the device's kind, and what else
    /// is in it is left alone.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read, is no regular file, is no tuning, has a setting that is no whole
    /// number, or was written for another adapter, driver or version of this crate. [`Error::NeedsGpu`] for the CPU
    /// engine.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        const OPERATION: &str = "Tuning::read";
        let adapter = adapter(OPERATION, device)?;
        let fail = |why: String| unfit(OPERATION, path, format!("{}: {why}", path.display()));
        let text = regular_file::read(path, LARGEST).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => fail("too large for a tuning".into()),
            _ => refused(OPERATION, path, "read")(error),
        })?;
        from_json(&text, adapter).map_err(fail)
    }

    /// Writes this tuning of `device` atomically, and makes the file's folder where it is absent.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, and where `path` is neither absent nor a regular file; what is at
    /// `path` is then unchanged. [`Error::NeedsGpu`] for the CPU engine.
    pub fn write(&self, path: &Path, device: &Device) -> Result<()> {
        const OPERATION: &str = "Tuning::write";
        let adapter = adapter(OPERATION, device)?;
        let text = self.to_json(adapter);
        cache::write(path, text.as_bytes()).map_err(refused(OPERATION, path, "write"))
    }
}

impl Device {
    /// Sets the tuning that is kept in `folder` for this device ([`Tuning::file`]), if there is one; whether there is.
    /// One that cannot be read, or is of something else, is left alone, which is reported through `log`.
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
    match &device.backend {
        Backend::Cpu => Err(Error::NeedsGpu { operation, why: "the CPU engine has no plans to tune".into() }),
        Backend::Gpu(context) => Ok(&context.adapter),
    }
}
