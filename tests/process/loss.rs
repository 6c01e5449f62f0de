//! A device that goes away, and the memory that comes back on another.

use attractor::{
    Device, Error, Memory, MemoryOptions, Patterns, Precision, RetrieveOptions, Rule, Separation, Similarity,
};
use harness::Case;

/// A memory with gaps, rows that were written over, several windows and a narrow store.
fn varied(device: &Device, precision: Precision, host_copy: bool) -> (Case, Memory) {
    let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 3.0);
    let case = Case::random(31, 12, 500, 18, Some(7), rule);
    let mut options = MemoryOptions::new(18, rule).value_dim(7).bias().precision(precision).window_bytes(16_000);
    if host_copy {
        options = options.host_copy();
    }
    let mut memory = options.build(device).unwrap();
    let bias: Vec<f32> = (0..500).map(|i| (i % 7) as f32 / 10.0).collect();
    let values = case.values.as_deref().unwrap();
    memory.add(Patterns::new(&case.keys).values(values).bias(&bias)).unwrap();
    for position in [3, 4, 250, 499] {
        memory.remove(memory.id_at(position).unwrap()).unwrap();
    }
    let one = Patterns::new(&case.keys[18..36]).values(&values[..7]);
    memory.add(one).unwrap();
    memory.update(memory.id_at(77).unwrap(), one).unwrap();
    (case, memory)
}

fn same(name: &str, case: &Case, got: &Memory, expected: &Memory, bits: bool) {
    assert_eq!((got.len(), got.position_count()), (expected.len(), expected.position_count()), "{name}");
    for position in 0..got.position_count() {
        assert_eq!(got.id_at(position), expected.id_at(position), "{name}");
    }
    let options = RetrieveOptions::steps(2).top(4);
    let got = got.retrieve_blocking(&case.queries, &options).unwrap();
    let expected = expected.retrieve_blocking(&case.queries, &options).unwrap();
    if bits {
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(got.top.unwrap().ids, expected.top.unwrap().ids, "{name}");
    for (got, expected) in got.output.iter().zip(&expected.output) {
        assert!((got - expected).abs() < 1e-4, "{name}: {got} {expected}");
    }
}

#[test]
fn a_memory_is_rebuilt_from_its_host_copy() {
    for (name, device) in harness::gpus() {
        for precision in Precision::ALL {
            let doomed = harness::reopened(device);
            let (case, memory) = varied(&doomed, precision, true);
            let (_, expected) = varied(device, precision, false);
            let pending = memory.retrieve(&case.queries, &RetrieveOptions::default()).unwrap();
            doomed.wgpu().unwrap().0.destroy();
            // It came before the end or it did not, but it is told.
            drop(pending.wait());
            let lost = memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap_err();
            assert!(matches!(lost, Error::DeviceLost { .. }), "{name}: {lost}");

            let rebuilt = memory.rebuild(device).unwrap();
            same(name, &case, &rebuilt, &expected, true);
            let mut native = memory.rebuild(&Device::cpu()).unwrap();
            same(name, &case, &native, &expected, false);
            // It goes on from there: ids are not given twice, freed positions are filled.
            let one = Patterns::new(&case.keys[..18]).values(&[1.0; 7]);
            let id = native.add(one).unwrap().get(0).unwrap();
            assert_eq!((id, native.id_at(4)), (attractor::PatternId(501), Some(id)), "{name}");
            let back = native.rebuild(device).unwrap();
            same(name, &case, &back, &native, false);

            let doomed = harness::reopened(device);
            let (_, memory) = varied(&doomed, precision, false);
            // While the device is there, rows are read back from it.
            same(name, &case, &memory.rebuild(device).unwrap(), &expected, true);
            doomed.wgpu().unwrap().0.destroy();
            let lost = memory.rebuild(device).unwrap_err();
            assert!(matches!(lost, Error::DeviceLost { .. }), "{name}: {lost}");
        }
    }
}

/// The last thing that a file is for.
#[cfg(feature = "files")]
#[test]
fn a_memory_is_rebuilt_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.safetensors");
    for (name, device) in harness::gpus() {
        let doomed = harness::reopened(device);
        let (case, memory) = varied(&doomed, Precision::F32, false);
        memory.save(&path).unwrap();
        doomed.wgpu().unwrap().0.destroy();
        assert!(memory.save(&path).is_err(), "{name}");
        let (_, expected) = varied(device, Precision::F32, false);
        let options = attractor::LoadOptions::default().window_bytes(16_000).host_copy();
        let loaded = Memory::load_with(device, &path, &options).unwrap();
        same(name, &case, &loaded, &expected, false);
        same(name, &case, &loaded.rebuild(device).unwrap(), &loaded, true);
    }
}

#[test]
fn a_cleared_memory_keeps_its_copy_in_step() {
    for (name, device) in harness::gpus() {
        let (case, mut memory) = varied(device, Precision::F32, true);
        memory.clear();
        let one = Patterns::new(&case.keys[..36]).values(&[0.5; 14]);
        memory.add(one).unwrap();
        same(name, &case, &memory.rebuild(&Device::cpu()).unwrap(), &memory.rebuild(device).unwrap(), false);
        assert_eq!(memory.rebuild(device).unwrap().len(), 2, "{name}");
    }
}
