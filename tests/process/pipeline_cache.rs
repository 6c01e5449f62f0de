//! Compiled kernels that are kept from run to run, and what damages them.

use std::fs;
use std::path::PathBuf;

use attractor::device::DeviceOptions;
use attractor::{Device, Memory, RetrieveOptions, Rule, wgpu};
use harness::host::{Host, hosts};

/// What a device on the adapter of `like` answers that keeps its kernels in `folder`.
fn answer(like: &Device, folder: &std::path::Path) -> Vec<f32> {
    let options = DeviceOptions::default().pipeline_cache(folder);
    ask(&harness::reopened_with(like, options))
}

fn ask(device: &Device) -> Vec<f32> {
    let mut memory = Memory::new(device, 3, Rule::softmax(1.0)).unwrap();
    memory.add(&[1.0, 0.0, 2.0, 0.5, -1.0, 1.0]).unwrap();
    memory.retrieve_blocking(&[0.3, 0.2, 0.1], &RetrieveOptions::default()).unwrap().output
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).map_or(vec![], |all| all.map(|file| file.unwrap().path()).collect());
    files.sort();
    files
}

/// The adapters whose backend lets compiled kernels out.
fn keeping() -> impl Iterator<Item = (&'static str, &'static Device)> {
    let adapters = harness::adapters();
    harness::gpus().zip(adapters).filter_map(|((name, device), (_, adapter))| {
        let keeps = adapter.features().contains(wgpu::Features::PIPELINE_CACHE);
        if !keeps {
            eprintln!("SKIP {name}: its backend keeps compiled kernels to itself");
        }
        keeps.then_some((name.as_str(), device))
    })
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    for (name, like) in harness::gpus() {
        let features = like.wgpu().unwrap().0.features();
        assert!(!features.contains(wgpu::Features::PIPELINE_CACHE), "{name}: not asked for");
    }
}

#[test]
fn kernels_are_kept_by_adapter_and_answers_stay() {
    let folder = tempfile::tempdir().unwrap();
    // Made when there is something to keep.
    let inner = folder.path().join("not/there/yet");
    for (many, (name, like)) in (1..).zip(keeping()) {
        let expected = ask(like);
        assert_eq!(answer(like, &inner), expected, "{name}: cold");
        assert_eq!(files(&inner).len(), many, "{name}: a file of its own, and nothing beside it");
        let kept = fs::read(&files(&inner)[0]).unwrap();
        assert!(kept.len() > 24, "{name}");
        assert_eq!(answer(like, &inner), expected, "{name}: warm");
    }
}

#[test]
fn damaged_files_are_ignored_and_replaced() {
    for (name, like) in keeping() {
        let folder = tempfile::tempdir().unwrap();
        let expected = answer(like, folder.path());
        let [path] = &files(folder.path())[..] else { panic!("{name}: one file") };
        let whole = fs::read(path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            bytes
        };
        let noise = vec![0x5a; 4096];
        // Empty, cut, changed in the head and in the data, and another program's.
        for damage in [vec![], whole[..whole.len() - 1].to_vec(), flipped(3), flipped(whole.len() - 5), noise] {
            fs::write(path, &damage).unwrap();
            assert_eq!(answer(like, folder.path()), expected, "{name}");
            assert_ne!(fs::read(path).unwrap(), damage, "{name}: replaced");
        }
        // Another driver's, sealed: wgpu sees that the ids are not its own.
        let inner = whole.windows(8).position(|bytes| bytes == b"WGPUPLCH").unwrap();
        let mut foreign = whole[inner..].to_vec();
        foreign[20] ^= 0xff;
        let hash = foreign
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        fs::write(path, [&whole[..16], &hash.to_le_bytes(), &foreign].concat()).unwrap();
        assert_eq!(answer(like, folder.path()), expected, "{name}: another's");
        // Where no file can be written there is none, and no error.
        fs::remove_file(path).unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, b"").unwrap();
        assert_eq!(answer(like, &file.join("below")), expected, "{name}: nowhere to keep them");
    }
}

#[test]
fn a_host_gives_its_own_or_none() {
    for host in hosts().map(Host::listening) {
        let guest = host.guest();
        ask(&guest);
        assert!(host.errors.lock().unwrap().is_empty(), "{}", host.name);
    }
    for (name, like) in keeping() {
        let adapters = pollster::block_on(Device::adapters());
        let adapter =
            adapters.iter().find(|adapter| attractor::device::DeviceInfo::from(&adapter.get_info()) == like.info());
        let descriptor =
            wgpu::DeviceDescriptor { required_features: wgpu::Features::PIPELINE_CACHE, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.unwrap().request_device(&descriptor)).unwrap();
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
        // SAFETY: there is no data.
        #[allow(unsafe_code, reason = "so wgpu has it")]
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        let guest = Device::from_wgpu(&device, &queue).unwrap();
        assert!(guest.use_pipeline_cache(cache.clone()), "{name}");
        assert!(!guest.use_pipeline_cache(cache.clone()), "{name}: it has one");
        assert_eq!(ask(&guest), ask(like), "{name}");
        assert!(cache.get_data().is_some(), "{name}: the host's to save");
    }
}
