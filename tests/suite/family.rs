//! The wider family: what other software made of given patterns and queries, on every device.

use attractor::Device;
use harness::family::{Failure, Golden, Mistake, Outcome, run, run_with};
use std::path::Path;

/// How many cases there are.
const CASES: usize = 17;

fn golden(name: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/family");
    Golden::read(&folder.join(format!("{name}.safetensors"))).unwrap()
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/family");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    let mut names: Vec<_> = cases.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names.len(), CASES, "the golden cases are all there");
    names
}

/// What differs first, if anything does.
fn wrong(outcome: &Outcome) -> Option<String> {
    let wrong = outcome.comparisons.iter().find(|comparison| !comparison.is_right())?;
    let first = wrong.first.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(format!("{}: {} differ, first {first}", wrong.name, wrong.differing))
}

#[test]
fn every_case_on_every_device() {
    for (name, device) in harness::devices() {
        for case in names() {
            let outcome = run(&golden(&case), device).unwrap_or_else(|error| panic!("{case} on {name}: {error}"));
            assert!(!outcome.comparisons.is_empty() && wrong(&outcome).is_none(), "{case} on {name}: {outcome:#?}");
            for comparison in &outcome.comparisons {
                println!("{case} on {name}: {} off by at most {:.1e}", comparison.name, comparison.largest);
            }
        }
    }
}

/// Each mistake that is easily made spoils a case.
#[test]
fn mistakes_are_seen() {
    let mistakes = [
        (Mistake::SelfTerm, "dense_n2"),
        (Mistake::SelfTerm, "dense_n3"),
        (Mistake::SelfTerm, "dense_n4_loaded"),
        (Mistake::SelfTerm, "classical_d500_a0.16"),
        (Mistake::SelfTerm, "torchhd_memories"),
        (Mistake::SignOfZero, "resonator_together"),
        (Mistake::SoftmaxForLinear, "resonator_together"),
    ];
    for (name, device) in harness::devices() {
        for (mistake, case) in mistakes {
            let outcome = run_with(&golden(case), device, Some(mistake)).unwrap();
            let seen = wrong(&outcome).unwrap_or_else(|| panic!("{mistake:?} in {case} on {name} is not seen"));
            println!("{mistake:?} in {case} on {name}: {seen}");
        }
    }
}

/// A file that is no case is refused by an error that says why.
#[test]
fn other_files_are_refused() {
    let file = |case: &str, tensors: &[(&str, &[usize])]| {
        let numbers = vec![0u8; 4 * 64];
        let views: Vec<_> = tensors
            .iter()
            .map(|(name, shape)| {
                let bytes = &numbers[..4 * shape.iter().product::<usize>()];
                (*name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
            })
            .collect();
        let metadata = Some([("case".to_owned(), case.to_owned())].into());
        safetensors::serialize(views, metadata).unwrap()
    };
    let classical = r#"{"system": "classical Hopfield", "rule": "zero keeps", "max_steps": 3}"#;
    let resonator = r#"{"system": "resonator network", "factors": "in order", "zero": "zero"}"#;
    let refused: [(Vec<u8>, &str); 10] = [
        (b"not tensors at all".to_vec(), "not a safetensors file"),
        (file("[1]", &[]), "no JSON object"),
        (file("{", &[]), "metadata `case`"),
        (file(r#"{"system": "x"}"#, &[]), "no system \"x\""),
        (file(classical, &[]), "no tensor `patterns`"),
        (file(classical, &[("patterns", &[2, 3]), ("start", &[2, 4])]), "4 columns"),
        (file(classical, &[("patterns", &[0, 3])]), "no elements"),
        (file(classical, &[("patterns", &[6])]), "must have 2 sides"),
        (file(&classical.replace('3', "0"), &[("patterns", &[2, 3]), ("start", &[2, 3])]), "max_steps"),
        (file(resonator, &[("books", &[1, 2, 3]), ("composite", &[2, 3])]), "2 factors"),
    ];
    for (bytes, says) in refused {
        let error = match Golden::parse(&bytes) {
            Err(why) => why,
            Ok(golden) => match run(&golden, &Device::cpu()).unwrap_err() {
                Failure::Case(why) => why,
                Failure::Library(error) => panic!("{says}: {error}"),
            },
        };
        assert!(error.contains(says), "{error} does not say {says}");
    }
}
