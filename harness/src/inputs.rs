//! What is done with one input of each format, for the fuzz targets and `tests/suite/corpus.rs`.
//!
//! Each function returns whether the input was accepted. An input may be refused with an error; it must not panic,
//! abort, hang, or be accepted and then violate what the library promises of it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::{fs, iter};

use attractor::files::{Address, PatternFiles, Role, SavedMemory, Tensor};
use attractor::keyed::{Entries, Key, KeyedMemory};
use attractor::partial::Partial;
use attractor::{Device, Error, LoadOptions, Memory, Precision, RetrieveOptions, Rule, internals, wgpu};

use crate::idx as idx_format;
use crate::seal::{header, sealed};

/// The most elements that are stored of an accepted input.
const MOST: usize = 1 << 20;

/// A file of this thread, removed when the thread ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// A file that holds `data`.
fn file(data: &[u8]) -> PathBuf {
    let path = SCRATCH.with_borrow_mut(|scratch| {
        let new = || {
            let memory = PathBuf::from("/dev/shm");
            let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
            let thread = std::thread::current().id();
            Scratch(folder.join(format!("attractor-fuzz-{}-{thread:?}", std::process::id())))
        };
        scratch.get_or_insert_with(new).0.clone()
    });
    fs::write(&path, data).expect("the scratch file is written");
    path
}

/// Reads a tensor in every role; whether it was keys.
fn tensor(address: &Address) -> bool {
    for role in [Role::Keys, Role::Values, Role::Queries, Role::Bias, Role::Mask] {
        let Ok(tensor) = Tensor::open(role, address) else { continue };
        let elements = tensor.shape().iter().product::<usize>();
        assert_eq!(tensor.len(), elements, "the shape is that of the data");
        let some = tensor.len().min(MOST);
        match role {
            Role::Mask => {
                if let Ok(flags) = tensor.flags(0..some) {
                    assert!(flags.len() == some && flags.iter().all(|flag| *flag <= 1));
                }
            }
            _ => {
                if let Ok(floats) = tensor.floats(0..some) {
                    assert!(floats.len() == some && floats.iter().all(|float| float.is_finite()));
                }
            }
        }
        assert!(tensor.floats(some..tensor.len() + 1).is_err());
    }
    let Ok(patterns) = PatternFiles::open(address) else { return false };
    if patterns.len() * patterns.dim() > MOST {
        return true;
    }
    for precision in Precision::ALL {
        let options = patterns.options(Rule::softmax(1.0)).precision(precision);
        let mut memory = options.build(&Device::cpu()).expect("a memory of that shape");
        match memory.import(&patterns) {
            Ok(ids) => {
                assert_eq!(ids.len(), patterns.len());
                answers(&memory);
            }
            Err(Error::File { .. } | Error::Range { .. } | Error::OutOfMemory { .. }) => assert_eq!(memory.len(), 0),
            Err(error) => panic!("{error:?}"),
        }
    }
    true
}

/// Asks a memory one query: an answer of finite numbers, or a refusal.
fn answers(memory: &Memory) {
    if memory.dim().saturating_mul(memory.position_count()) > MOST {
        return;
    }
    if let Ok(answer) = memory.retrieve_blocking(&vec![0.5; memory.dim()], &RetrieveOptions::default()) {
        assert!(answer.output.len() == memory.value_dim());
    }
}

/// A NumPy file.
pub fn npy(data: &[u8]) -> bool {
    tensor(&Address::npy(file(data)))
}

/// A safetensors file, of which the tensors `a`, `keys` and whatever else the header names first are read.
pub fn safetensors(data: &[u8]) -> bool {
    let path = file(data);
    let mut names = vec!["a".to_owned(), "keys".to_owned()];
    if let Some(header) = header(data) {
        names.extend(header.keys().take(3).cloned());
    }
    let mut accepted = false;
    for name in names {
        accepted |= tensor(&Address::safetensors(&path, name));
    }
    accepted
}

/// A saved memory: as it is, and with checksums that fit, so that what is behind them is reached.
pub fn saved(data: &[u8]) -> bool {
    let accepted = load(data);
    match sealed(data) {
        Some(sealed) => load(&sealed) | accepted,
        None => accepted,
    }
}

fn load(data: &[u8]) -> bool {
    let saved = match SavedMemory::open(file(data)) {
        Ok(saved) => saved,
        Err(Error::File { .. }) => return false,
        Err(error) => panic!("{error:?}"),
    };
    // A row may be as wide as any that a memory takes, and takes room even where there is none of it.
    if saved.dim().max(saved.value_dim().unwrap_or(0)) > MOST {
        return false;
    }
    let mut memory = match saved.load(&Device::cpu(), &LoadOptions::default()) {
        Ok(memory) => memory,
        Err(Error::File { .. } | Error::Limit { .. } | Error::OutOfMemory { .. }) => return false,
        Err(error) => panic!("{error:?}"),
    };
    answers(&memory);
    let (key, value) = (vec![0.25; memory.dim()], vec![0.5; memory.value_dim()]);
    let values = saved.value_dim().map(|_| value.as_slice());
    let ids = memory.add(crate::case::patterns(&key, values, None)).expect("room for another");
    assert!(ids.into_iter().all(|id| memory.contains(id) && memory.get(id).is_ok()));
    answers(&memory);
    true
}

/// A saved keyed memory, with keys of either type: as it is, and with checksums that fit.
pub fn keyed(data: &[u8]) -> bool {
    let mut accepted = false;
    for data in iter::once(data.to_vec()).chain(sealed(data)) {
        let saved = SavedMemory::open(file(&data));
        if saved.is_ok_and(|saved| saved.dim().max(saved.value_dim().unwrap_or(0)) <= MOST) {
            accepted |= load_keyed::<u64>(&data, &u64::MAX) | load_keyed::<String>(&data, "a new key");
        }
    }
    accepted
}

fn load_keyed<K: Key>(data: &[u8], new: &K::Ref) -> bool {
    let path = file(data);
    let mut memory = match KeyedMemory::<K>::load(&Device::cpu(), &path) {
        Ok(memory) => memory,
        Err(Error::File { .. } | Error::Limit { .. } | Error::OutOfMemory { .. }) => return false,
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(memory.keys().count(), memory.len());
    for key in memory.keys() {
        assert!(memory.id_of(key).and_then(|id| memory.key_of(id)) == Some(key), "a key names one pattern");
        let metadata = memory.metadata(key).expect("stored");
        assert!(metadata.is_none_or(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()));
    }
    let read = memory.batches(7).expect("more than 0").map(|batch| batch.expect("host memory").keys.len());
    assert_eq!(read.sum::<usize>(), memory.len());
    memory.save(&path).expect("saved again");
    assert!(KeyedMemory::<K>::load(&Device::cpu(), &path).is_ok_and(|again| again.keys().eq(memory.keys())));
    if !memory.contains(new) {
        let (key, value) = (vec![0.25; memory.memory().dim()], vec![0.5; memory.memory().value_dim()]);
        let values = memory.memory().has_values().then_some(&value[..]);
        memory.add(Entries::new(&[new], crate::case::patterns(&key, values, None))).expect("room for another");
        assert!(memory.get(new).is_ok());
        memory.remove(&[new]).expect("stored");
    }
    true
}

/// A partial state.
pub fn partial(data: &[u8]) -> bool {
    let Ok(partial) = Partial::from_bytes(data) else { return false };
    let bytes = partial.to_bytes();
    assert!(Partial::from_bytes(&bytes).is_ok_and(|again| again.to_bytes() == bytes), "it is read back");
    let _ = partial.clone().merge(partial.clone()).map(Partial::finish);
    let _ = partial.finish();
    true
}

/// A tuning file of the adapter that [`adapter`] describes.
pub fn tuning(data: &[u8]) -> bool {
    internals::parse_tuning(data, &adapter()).is_ok()
}

/// An adapter that does not exist.
pub fn adapter() -> wgpu::AdapterInfo {
    wgpu::AdapterInfo {
        name: "fuzz".into(),
        vendor: 1,
        device: 2,
        driver: "driver".into(),
        driver_info: "1.0".into(),
        ..wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan)
    }
}

/// Images.
pub fn idx(data: &[u8]) -> bool {
    let all = idx_format::read(data, None);
    for patterns in [1, 3] {
        if let Ok(images) = idx_format::read(data, Some(patterns)) {
            assert!(images.count() == patterns && images.pixels.len() == patterns * images.dim());
        }
    }
    all.is_ok()
}
