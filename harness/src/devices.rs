//! The devices that tests run on: the CPU engine and each adapter of this machine.
//!
//! `ATTRACTOR_REQUIRE_ADAPTERS` lists the adapters that must exist, with commas between their names (`lavapipe`,
//! `llvmpipe`, `swiftshader`). A missing adapter is printed as a skip, and fails the test where it is on the list.
//! `ATTRACTOR_TEST_DEVICES` lists the devices to test on, with commas between their names: `cpu`, the same names, and
//! `hardware`. Without it all that exist are.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

use attractor::device::{AdapterChoice, DeviceOptions};
use attractor::{Device, Error, Memory, Retrieval, RetrieveOptions, wgpu};

use crate::case::Case;

/// Adapters that every run looks for, besides all hardware: a name to require it by, the backend, and how the adapter
/// says that it is the one.
const SOFTWARE: &[(&str, wgpu::Backend, &str)] = &[
    ("lavapipe", wgpu::Backend::Vulkan, "llvmpipe"),
    ("llvmpipe", wgpu::Backend::Gl, "llvmpipe"),
    // `VK_ADD_DRIVER_FILES` brings it in (`test.sh`).
    ("swiftshader", wgpu::Backend::Vulkan, "swiftshader"),
];

/// Whether the tests run on the device of this name: `ATTRACTOR_TEST_DEVICES` lists it, or nothing. A test of the CPU
/// engine alone asks for `cpu`, so that it does not run once for each adapter.
pub fn runs_on(name: &str) -> bool {
    let list = std::env::var("ATTRACTOR_TEST_DEVICES").unwrap_or_default();
    list.is_empty() || list.split(',').any(|asked| asked.trim() == name)
}

/// Every device to test on, by name. The CPU engine comes first.
pub fn devices() -> &'static [(String, Device)] {
    static DEVICES: OnceLock<Vec<(String, Device)>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
        let mut devices = Vec::new();
        if runs_on("cpu") {
            devices.push(("cpu".to_owned(), Device::cpu()));
        }
        let adapters = pollster::block_on(Device::adapters());
        let mut open = |name: &str, index: usize| {
            let options = DeviceOptions::default().adapter(AdapterChoice::Index(index));
            match pollster::block_on(Device::with_options(&options)) {
                Ok(device) => devices.push((name.to_owned(), device)),
                Err(error) => panic!("{name} is there and does not open: {error}"),
            }
        };
        for &(name, backend, says) in SOFTWARE.iter().filter(|(name, ..)| runs_on(name)) {
            let found = adapters.iter().position(|adapter| {
                let info = adapter.get_info();
                info.backend == backend && info.name.to_lowercase().contains(says)
            });
            match found {
                Some(index) => open(name, index),
                None => {
                    eprintln!("SKIP {name}: no {backend:?} adapter here says {says}");
                    let fatal = required.split(',').any(|asked| asked.trim() == name);
                    assert!(!fatal, "{name} is required by ATTRACTOR_REQUIRE_ADAPTERS and is not there");
                }
            }
        }
        for (index, adapter) in adapters.iter().enumerate() {
            let info = adapter.get_info();
            if info.device_type != wgpu::DeviceType::Cpu && runs_on("hardware") {
                open(&format!("{} ({:?})", info.name, info.backend), index);
            }
        }
        devices
    })
}

/// Whether a device on which tests take long runs them all the same: `ATTRACTOR_SLOW` names it, or is set at all, which
/// does for any but SwiftShader.
fn runs_long_tests(name: &str) -> bool {
    let slow = std::env::var("ATTRACTOR_SLOW").unwrap_or_default();
    slow.contains(name) || (!slow.is_empty() && !SLOW.contains(&name))
}

/// [`devices`] without those that `left_out` names, where there is no time for them.
fn without(left_out: &'static [&'static str]) -> impl Iterator<Item = &'static (String, Device)> {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    devices().iter().filter(move |(name, _)| {
        let runs = !left_out.contains(&name.as_str()) || runs_long_tests(name);
        if !runs && SAID.lock().is_ok_and(|mut said| said.insert(name)) {
            eprintln!("SKIP {name}: some tests take too long there; set ATTRACTOR_SLOW={name}");
        }
        runs
    })
}

/// [`devices`] on which the mathematics is tested in full: the CPU engine, lavapipe and all hardware. Other software
/// adapters run the conformance list, which compiles every kernel that these do, at fewer sizes.
pub fn thorough_devices() -> impl Iterator<Item = &'static (String, Device)> {
    without(&["llvmpipe", "swiftshader"])
}

/// [`devices`] without SwiftShader, which runs each invocation between two barriers as a fibre.
pub fn quick_devices() -> impl Iterator<Item = &'static (String, Device)> {
    without(SLOW)
}

/// Whether the device of this name is among [`quick_devices`]: elsewhere a test of a host's affairs takes fewer rules.
pub fn is_quick(name: &str) -> bool {
    !SLOW.contains(&name) || runs_long_tests(name)
}

/// Adapters on which a second's work takes a minute.
const SLOW: &[&str] = &["swiftshader"];

/// The devices that have an encoder to record into.
pub fn gpus() -> impl Iterator<Item = &'static (String, Device)> {
    devices().iter().filter(|(_, device)| !device.is_cpu())
}

/// Which of `adapters` an open device is on.
pub(crate) fn index_of(adapters: &[wgpu::Adapter], device: &Device) -> usize {
    let same = |adapter: &wgpu::Adapter| attractor::device::DeviceInfo::from(&adapter.get_info()) == device.info();
    adapters.iter().position(same).expect("the adapter of an open device is listed")
}

/// The adapter of every device but the CPU engine, and its name.
pub fn adapters() -> Vec<(String, wgpu::Adapter)> {
    let adapters = pollster::block_on(Device::adapters());
    gpus().map(|(name, device)| (name.clone(), adapters[index_of(&adapters, device)].clone())).collect()
}

/// Another device of the library on the adapter of an open one.
pub fn reopened(device: &Device) -> Device {
    reopened_with(device, DeviceOptions::default())
}

/// The same with options of its own, but for the adapter.
pub fn reopened_with(device: &Device, options: DeviceOptions) -> Device {
    let adapters = pollster::block_on(Device::adapters());
    let adapter = AdapterChoice::Index(index_of(&adapters, device));
    pollster::block_on(Device::with_options(&options.adapter(adapter))).unwrap()
}

impl Case {
    /// The case's patterns on a device; `None`, said on standard error, where the device does not support them.
    pub fn memory(&self, name: &str, device: &Device) -> Option<Memory> {
        supported(name, self.build(device))
    }

    /// Retrieves the case's queries; `None`, said on standard error, where the device does not support it.
    pub fn run(&self, name: &str, device: &Device, options: &RetrieveOptions) -> Option<Retrieval> {
        supported(name, self.memory(name, device)?.retrieve_blocking(&self.queries, options))
    }
}

/// The result, `None` where the device does not support what was asked, which is reported on standard error.
pub fn supported<T>(name: &str, result: attractor::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error @ Error::Unsupported { .. }) => {
            assert!(name != "cpu", "the CPU engine supports everything: {error}");
            eprintln!("SKIP {name}: {error}");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}
