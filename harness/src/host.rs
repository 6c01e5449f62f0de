//! Devices that an application owns, and what is needed to watch them.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attractor::{Device, wgpu};

use crate::devices::{gpus, index_of};

/// A device that an application owns: WebGPU's default limits, no features. Errors that nothing handles panic, unless
/// the host is [`listening`](Self::listening).
pub struct Host {
    /// The name that the tests know its adapter by.
    pub name: String,
    /// The instance that the adapter belongs to.
    pub instance: wgpu::Instance,
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What its handler of uncaptured errors was told, where it is listening.
    pub errors: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// A new device on the adapter of `like`.
    pub fn open(name: &str, like: &Device) -> Self {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = &adapters[index_of(&adapters, like)];
        let descriptor = wgpu::DeviceDescriptor { label: Some("host"), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        Self { name: name.to_owned(), instance, device, queue, errors: Arc::default() }
    }

    /// The same with a handler that keeps its errors.
    #[must_use]
    pub fn listening(self) -> Self {
        let told = self.errors.clone();
        self.device
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| told.lock().unwrap().push(error.to_string())));
        self
    }

    /// The library's device on it.
    pub fn guest(&self) -> Device {
        Device::from_wgpu(&self.device, &self.queue).unwrap()
    }

    /// Whether a processor plays the device.
    pub fn is_software(&self) -> bool {
        self.device.adapter_info().device_type == wgpu::DeviceType::Cpu
    }

    /// A buffer of the host.
    pub fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }
}

/// A host on every adapter that the tests use.
pub fn hosts() -> impl Iterator<Item = Host> {
    gpus().map(|(name, device)| Host::open(name, device))
}

/// What `work` returns. Panics where it takes longer than `seconds`; the thread that hangs is left behind.
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
