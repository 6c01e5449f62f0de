//! Keeps what the driver has compiled from one run to the next, where the backend hands it out (Vulkan): in a file, or
//! in a host's own cache.

#![allow(unsafe_code, reason = "wgpu cannot tell whether bytes are a driver's own; the seal can")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::buffer;
use super::handles::Handles;
use crate::cache;
use crate::hash;
use crate::sync::lock;

/// The first bytes of a file.
const MAGIC: &[u8; 16] = b"attractor kernel";

/// A cache that kernels are compiled through.
#[derive(Debug)]
pub(crate) struct PipelineCache {
    pub cache: wgpu::PipelineCache,
    /// The file that it is kept in, unless a host keeps it.
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// The hash of the data in the file.
    kept: Mutex<u64>,
}

impl PipelineCache {
    /// A cache that starts with the data for this device in `folder`; `None` where the backend has no caches.
    pub fn open(handles: &Handles, folder: &Path) -> Option<Self> {
        let device = &handles.device;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(format!("{}.pipelines", cache::key(&handles.adapter)));
        let bytes = cache::read(&path);
        let data = bytes.as_deref().and_then(unseal);
        if bytes.is_some() && data.is_none() {
            log::warn!("attractor: {} is damaged; kernels are compiled anew", path.display());
        }
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("attractor"), data, fallback: true };
        // SAFETY: the data is what `get_data` gave for an adapter of the same name, ids, driver and driver version:
        // those make the name of the file, and the seal shows that it is whole and that `save` wrote it. wgpu and the
        // driver compare ids and versions once more, and start with an empty cache where they differ. It does not guard
        // against someone who forges the file, but who writes to this folder can change the user's programs as well.
        let cache =
            buffer::scoped(handles, "open pipeline cache", || unsafe { device.create_pipeline_cache(&descriptor) })
                .inspect_err(|error| log::warn!("attractor: no pipeline cache: {error}"))
                .ok()?;
        let kept = Mutex::new(data.map_or(0, hash::hash));
        Some(Self { cache, file: Some(File { path, kept }) })
    }

    /// A host's own cache, which the host keeps.
    pub fn host(cache: wgpu::PipelineCache) -> Self {
        Self { cache, file: None }
    }

    /// Writes the data to the file, unless the file has it already.
    pub fn save(&self) {
        let Some(File { path, kept }) = &self.file else { return };
        let Some(data) = self.cache.get_data() else { return };
        let hash = hash::hash(&data);
        let mut kept = lock(kept);
        if *kept == hash {
            return;
        }
        match cache::write(path, &seal(&data)) {
            Ok(()) => *kept = hash,
            Err(error) => log::warn!("attractor: {} cannot be written: {error}", path.display()),
        }
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        self.save();
    }
}

fn seal(data: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &hash::hash(data).to_le_bytes(), data].concat()
}

/// The data of a file, unless the file is damaged.
fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, data) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    (u64::from_le_bytes(*hash) == hash::hash(data)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_that_is_broken_anywhere_is_seen() {
        let data: Vec<u8> = (0..100).collect();
        let sealed = seal(&data);
        assert_eq!(unseal(&sealed), Some(&data[..]));
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert_eq!(unseal(&broken), None, "byte {at}");
            assert_eq!(unseal(&sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(unseal(&[&sealed[..], b"more"].concat()), None);
    }
}
