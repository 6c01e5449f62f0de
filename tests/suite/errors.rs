//! Bad input is refused with an error that says what was expected and what came, and leaves the memory as it was.

use attractor::device::{AdapterChoice, DeviceOptions, SoftwareAdapters};
use attractor::{Device, Error, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, Separation, Similarity, wgpu};

fn says(result: Result<impl std::fmt::Debug, Error>, words: &[&str]) {
    let message = result.expect_err("must be refused").to_string();
    for word in words {
        assert!(message.contains(word), "\"{message}\" does not say \"{word}\"");
    }
    assert!(!message.contains('\n'), "one line: {message}");
}

#[test]
fn shapes_and_values() {
    for (_, device) in harness::devices() {
        let mut memory = Memory::new(device, 4, Rule::softmax(1.0)).unwrap();
        says(memory.retrieve_blocking(&[0.0; 4], &RetrieveOptions::default()), &["empty"]);
        memory.add(&[1.0; 8]).unwrap();
        let before = memory.retrieve_blocking(&[0.5; 4], &RetrieveOptions::default()).unwrap();

        says(memory.add(&[1.0; 7]), &["Memory::add", "rows of 4", "7 floats", "3 too many"]);
        says(memory.add(Patterns::new(&[1.0; 4]).values(&[1.0; 4])), &["without a value dimension"]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            says(memory.add(&[0.0, 0.0, 0.0, 0.0, 0.0, bad, 0.0, 0.0]), &["keys row 1, column 1", &bad.to_string()]);
            says(
                memory.retrieve_blocking(&[0.0, 0.0, bad, 0.0], &RetrieveOptions::default()),
                &["queries row 0, column 2"],
            );
        }
        says(memory.retrieve_blocking(&[1.0; 5], &RetrieveOptions::default()), &["queries", "rows of 4", "5 floats"]);
        says(memory.retrieve_blocking(&[1.0; 4], &RetrieveOptions::steps(0)), &["steps", "at least 1"]);
        says(memory.retrieve_blocking(&[1.0; 4], &RetrieveOptions::converge(0, 1e-3)), &["max_steps"]);
        for tolerance in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let options = RetrieveOptions::converge(9, tolerance);
            says(memory.retrieve_blocking(&[1.0; 4], &options), &["tolerance", "above 0"]);
        }

        assert_eq!(memory.len(), 2);
        assert_eq!(
            memory.retrieve_blocking(&[0.5; 4], &RetrieveOptions::default()).unwrap(),
            before,
            "a refused add leaves the memory unchanged"
        );
        assert_eq!(memory.add(&[]).unwrap().len(), 0);
        let none = memory.retrieve_blocking(&[], &RetrieveOptions::default()).unwrap();
        assert_eq!((none.batch, none.output.len()), (0, 0));
    }
}

#[test]
fn values_beside_keys() {
    for (_, device) in harness::devices() {
        let mut memory = MemoryOptions::new(4, Rule::softmax(1.0)).value_dim(3).build(device).unwrap();
        says(memory.add(&[1.0; 4]), &["values of 3"]);
        says(memory.add(Patterns::new(&[1.0; 8]).values(&[1.0; 5])), &["2 x 3 = 6", "5 floats"]);
        says(memory.add(Patterns::new(&[1.0; 8]).values(&[f32::NAN; 6])), &["values row 0, column 0"]);
        assert!(memory.is_empty());
    }
}

#[test]
fn rules_and_dimensions() {
    for (_, device) in harness::devices() {
        says(Memory::new(device, 0, Rule::softmax(1.0)), &["dim", "at least 1"]);
        says(MemoryOptions::new(3, Rule::softmax(1.0)).value_dim(0).build(device), &["value_dim", "at least 1"]);
        says(Memory::new(device, 3, Rule::softmax(f32::NAN)), &["beta", "finite", "NaN"]);
        let rule = Rule::new(Similarity::Dot, Separation::Entmax { alpha: 1.0 }, 1.0);
        says(Memory::new(device, 3, rule), &["alpha", "above 1"]);
        says(MemoryOptions::new(64, Rule::softmax(1.0)).window_bytes(100).build(device), &["256", "100"]);
    }
    for (_, device) in harness::gpus() {
        says(Memory::new(device, 1 << 30, Rule::softmax(1.0)), &["dimensions of one row", "65536"]);
    }
    says(Memory::new(&Device::cpu(), usize::MAX, Rule::softmax(1.0)), &["dimensions of one row"]);
}

#[test]
fn more_than_the_device_holds() {
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 4, Rule::softmax(1.0)).unwrap();
        memory.add(&[1.0; 4]).unwrap();
        if device.is_cpu() {
            says(memory.reserve(usize::MAX / 64), &["Memory::reserve", "windows of one memory"]);
            says(memory.reserve(1 << 44), &["Memory::reserve", "no host memory"]);
        } else {
            // Positions are u32 there: refused before any buffer is made.
            let most = u32::MAX as usize;
            says(
                memory.reserve(most),
                &["Memory::reserve", "patterns of one memory on a GPU", "4294967296", "4294967295"],
            );
            says(memory.reserve(usize::MAX), &["Memory::reserve", "patterns of one memory on a GPU"]);
        }
        assert_eq!(memory.len(), 1, "{name}");
    }
}

#[test]
fn adapters_that_are_not_there() {
    let open = |options: DeviceOptions| pollster::block_on(Device::with_options(&options));
    let index = DeviceOptions::default().adapter(AdapterChoice::Index(999));
    says(open(index), &["index 999", "found"]);
    let name = DeviceOptions::default().adapter(AdapterChoice::Name("no such thing".into()));
    says(open(name), &["no such thing"]);
    let nothing = DeviceOptions::default().backends(wgpu::Backends::empty()).software(SoftwareAdapters::Require);
    says(open(nothing), &["software only"]);
}
