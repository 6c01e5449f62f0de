//! Devices that an application owns, and what is needed to watch them.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attractor::{Device, wgpu};

/// A device of a host's: WebGPU's default limits, no features, an error handler of its own.
pub struct Host {
    pub name: String,
    pub instance: wgpu::Instance,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// What its handler of uncaptured errors was told.
    pub errors: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// A new device on the adapter of `like`.
    pub fn open(name: &str, like: &Device) -> Self {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = &adapters[super::index_of(&adapters, like)];
        let descriptor = wgpu::DeviceDescriptor { label: Some("host"), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let told = errors.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| told.lock().unwrap().push(error.to_string())));
        Self { name: name.to_owned(), instance, device, queue, errors }
    }

    /// Our part in it.
    pub fn guest(&self) -> Device {
        Device::from_wgpu(&self.device, &self.queue).unwrap()
    }

    pub fn is_software(&self) -> bool {
        self.device.adapter_info().device_type == wgpu::DeviceType::Cpu
    }

    pub fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }
}

/// A host on every adapter that the tests use.
pub fn hosts() -> impl Iterator<Item = Host> {
    super::gpus().map(|(name, device)| Host::open(name, device))
}

/// What `work` returns; a panic where it takes longer than `seconds`: whatever hangs is left behind.
pub fn within<T: Send + 'static>(seconds: u64, what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let worker = std::thread::spawn(move || {
        let _ = sender.send(work());
    });
    match receiver.recv_timeout(Duration::from_secs(seconds)) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs: not done in {seconds} s"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it sends before it ends"),
        },
    }
}
