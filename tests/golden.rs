//! Expected results from independent software (PyTorch in double precision) on every device.

mod common;

use attractor::{Device, MemoryOptions, RetrieveOptions, Rule};
use safetensors::SafeTensors;

/// One `tests/golden/retrieve_*.safetensors`.
struct Golden {
    name: String,
    case: serde_json::Value,
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    queries: Vec<f32>,
    masked: bool,
    output: Vec<f64>,
    state: Vec<f64>,
}

impl Golden {
    fn load(path: &std::path::Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = &metadata.metadata().as_ref().unwrap()["case"];
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let f32s = |name: &str| -> Option<Vec<f32>> {
            tensors.tensor(name).ok().map(|tensor| bytemuck::pod_collect_to_vec(tensor.data()))
        };
        let f64s = |name: &str| -> Vec<f64> { bytemuck::pod_collect_to_vec(tensors.tensor(name).unwrap().data()) };
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            case: serde_json::from_str(case).unwrap(),
            keys: f32s("keys").unwrap(),
            values: f32s("values"),
            queries: f32s("queries").unwrap(),
            masked: tensors.tensor("mask").is_ok(),
            output: f64s("output"),
            state: f64s("state"),
        }
    }

    fn all() -> Vec<Self> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn number(&self, name: &str) -> f64 {
        self.case[name].as_f64().unwrap()
    }

    fn supported(&self) -> bool {
        self.case["similarity"] == "dot" && self.case["separation"]["kind"] == "softmax" && !self.masked
    }

    fn dim(&self) -> usize {
        self.number("d") as usize
    }

    /// The worst error, as a share of what is allowed.
    fn run(&self, device: &Device) -> f64 {
        let mut options = MemoryOptions::new(self.dim(), Rule::softmax(self.number("beta") as f32));
        if self.values.is_some() {
            options = options.value_dim(self.number("dv") as usize);
        }
        let mut memory = options.build(device).unwrap();
        match &self.values {
            Some(values) => memory.add_with_values(&self.keys, values).unwrap(),
            None => memory.add(&self.keys).unwrap(),
        };
        let options = RetrieveOptions::steps(self.number("steps") as u32);
        let got = memory.retrieve_with_blocking(&self.queries, &options).unwrap();
        let share = |got: &[f32], expected: &[f64]| {
            let largest = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
            common::worst(got, expected) / (2e-5 * largest)
        };
        share(&got.output, &self.output).max(share(&got.state, &self.state))
    }
}

#[test]
fn every_supported_case_on_every_device() {
    let cases = Golden::all();
    assert_eq!(cases.len(), 24, "the golden cases are all there");
    let mut run = 0;
    for case in &cases {
        if !case.supported() {
            eprintln!("SKIP {}: its rule is not supported yet", case.name);
            continue;
        }
        run += 1;
        for (name, device) in common::devices() {
            let share = case.run(device);
            println!("{} on {name}: {:.1} % of the allowed error", case.name, 100.0 * share);
            assert!(share <= 1.0, "{} on {name}: {share} times the allowed error", case.name);
        }
    }
    assert_eq!(run, 7, "cases of dot with softmax and no mask");
}
