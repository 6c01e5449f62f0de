//! Expected results from independent software (PyTorch in double precision) on every device.

use attractor::retrieval::WeightsOf;
use attractor::{Device, Rule, Separation, Similarity};
use harness::Case;
use safetensors::SafeTensors;

/// One `tests/golden/retrieve_*.safetensors`.
struct Golden {
    name: String,
    case: serde_json::Value,
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    queries: Vec<f32>,
    keep: Option<Vec<bool>>,
    output: Vec<f64>,
    state: Vec<f64>,
    weights: Vec<f64>,
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
            keep: tensors.tensor("mask").ok().map(|mask| mask.data().iter().map(|flag| *flag != 0).collect()),
            output: f64s("output"),
            state: f64s("state"),
            weights: f64s("weights"),
        }
    }

    fn all() -> Vec<Self> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        // Cases of other kinds have folders of their own.
        paths.retain(|path| path.is_file());
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn number(&self, name: &str) -> f64 {
        self.case[name].as_f64().unwrap()
    }

    fn rule(&self) -> Rule {
        let similarity = match self.case["similarity"].as_str().unwrap() {
            "dot" => Similarity::Dot,
            "cosine" => Similarity::Cosine,
            "euclidean" => Similarity::Euclidean,
            "manhattan" => Similarity::Manhattan,
            other => panic!("{}: similarity {other}", self.name),
        };
        let separation = &self.case["separation"];
        let separation = match separation["kind"].as_str().unwrap() {
            "softmax" => Separation::Softmax,
            "softmax1" => Separation::Softmax1,
            "sparsemax" => Separation::Sparsemax,
            "entmax" => Separation::Entmax { alpha: separation["alpha"].as_f64().unwrap() as f32 },
            "topk" => Separation::TopK { k: separation["k"].as_u64().unwrap() as usize },
            other => panic!("{}: separation {other}", self.name),
        };
        Rule::new(similarity, separation, self.number("beta") as f32)
    }

    fn case(&self) -> Case {
        let [batch, patterns, dim] = ["b", "n", "d"].map(|name| self.number(name) as usize);
        Case {
            value_dim: self.values.as_ref().map(|_| self.number("dv") as usize),
            keys: self.keys.clone(),
            values: self.values.clone(),
            queries: self.queries.clone(),
            keep: self.keep.clone(),
            steps: self.number("steps") as u32,
            ..Case::random(0, batch, patterns, dim, None, self.rule())
        }
    }

    /// The worst error, as a share of what is allowed: of outputs and states, and of weights. `None` where the device
    /// does not support the case.
    fn run(&self, name: &str, device: &Device) -> Option<(f64, f64)> {
        let case = self.case();
        let plain = case.run(name, device, &case.options())?;
        let share = |got: &[f32], expected: &[f64]| {
            let largest = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
            harness::worst(got, expected) / (2e-5 * largest)
        };
        let answers = share(&plain.output, &self.output).max(share(&plain.state, &self.state));
        let reported = case.run(name, device, &case.options().weights(WeightsOf::All).statistics());
        let weights = reported.map_or(0.0, |reported| {
            assert_eq!(reported.output, plain.output, "{}: reports change nothing", self.name);
            let weights = reported.weights.unwrap();
            for (got, expected) in weights.iter().zip(&self.weights) {
                let differ = (*got > 0.0) != (*expected > 0.0);
                assert!(!differ || f64::from(*got).max(*expected) < 1e-6, "{}: {got} for {expected}", self.name);
            }
            let softmax = matches!(self.rule().separation, Separation::Softmax | Separation::Softmax1);
            let n = case.patterns();
            for (b, statistics) in reported.statistics.unwrap().iter().enumerate() {
                let row = &self.weights[b * n..(b + 1) * n];
                let sure = row.iter().filter(|p| **p > 1e-6).count();
                let all = row.iter().filter(|p| **p > 0.0).count();
                let support = statistics.support as usize;
                assert!(softmax || (sure..=all.max(sure)).contains(&support), "{}: support {support}", self.name);
                let perplexity = attractor::reference::statistics(row).perplexity;
                let error = (f64::from(statistics.perplexity) - perplexity).abs() / perplexity;
                assert!(error < 1e-3, "{}: perplexity {} for {perplexity}", self.name, statistics.perplexity);
            }
            harness::worst(&weights, &self.weights) / 2e-5
        });
        Some((answers, weights))
    }
}

#[test]
fn every_case_on_every_device() {
    let cases = Golden::all();
    assert_eq!(cases.len(), 24, "the golden cases are all there");
    for (name, device) in harness::devices() {
        let mut worst = (0.0f64, 0.0f64);
        let mut run = 0;
        for case in &cases {
            let Some((answers, weights)) = case.run(name, device) else { continue };
            println!(
                "{} on {name}: {:.2} % of the allowed error, weights {:.2} %",
                case.name,
                100.0 * answers,
                100.0 * weights
            );
            assert!(answers <= 1.0 && weights <= 1.0, "{} on {name}: {answers}, {weights}", case.name);
            worst = (worst.0.max(answers), worst.1.max(weights));
            run += 1;
        }
        println!("{name}: {run} cases, worst {:.2e} and weights {:.2e}", 2e-5 * worst.0, 2e-5 * worst.1);
        assert_eq!(run, 24, "cases on {name}");
    }
}

/// Small batches tile by tile, and large ones streamed, two queries at a time.
#[test]
fn every_case_under_odd_tunings() {
    let odd: [&[(&str, u64)]; 2] = [
        &[("workgroups", 1 << 20), ("stream_max_batch", 0), ("max_listed_queries", 3)],
        &[
            ("workgroups", 1),
            ("stream_max_batch", u64::MAX),
            ("stream_max_queries", 3),
            ("stream_max_macs_per_workgroup", 0),
            ("max_queries_per_block", 2),
        ],
    ];
    let cases = Golden::all();
    for (name, device) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        let device = harness::reopened(device);
        for settings in odd {
            let mut tuning = device.tuning().unwrap();
            assert!(settings.iter().all(|(setting, value)| tuning.set(setting, *value)));
            device.set_tuning(tuning);
            for case in &cases {
                let Some((answers, weights)) = case.run(name, &device) else { continue };
                let what = format!("{} on {name} under {settings:?}: {answers}, {weights}", case.name);
                assert!(answers <= 1.0 && weights <= 1.0, "{what}");
            }
        }
    }
}
