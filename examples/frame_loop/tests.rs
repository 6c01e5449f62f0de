//! The example `frame_loop` at small size: it draws what was recalled, and the job's bits are the one-shot's.

use std::time::Duration;

use crate::{Arguments, run};

#[test]
fn the_loop_draws_and_the_job_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for (name, device) in harness::gpus() {
        if device.info().backend == "Gl" {
            eprintln!("SKIP {name}: the example is for Vulkan, Metal and DX12");
            continue;
        }
        let out = folder.path().join(name);
        let arguments = Arguments {
            patterns: 20_000,
            queries: 3,
            agents: 60,
            frames: 5,
            budget: Duration::from_millis(1),
            device: Some(device.info().name),
            out: out.clone(),
        };
        let report = run(&arguments).unwrap_or_else(|error| panic!("{name}: {error}"));
        eprintln!("{}", report.text);
        assert!(report.same_bits, "{name}");
        assert!(!report.sliced.is_empty() && report.empty.len() == 5 && report.whole.len() == 20, "{name}");
        assert!(out.join("frame_times.svg").metadata().unwrap().len() > 1000, "{name}");
        let picture = |file: &str| image::open(out.join(file)).unwrap().into_rgba8();
        let (first, last) = (picture("frame_empty.png"), picture("frame_last.png"));
        let drawn =
            |picture: &image::RgbaImage| picture.pixels().filter(|pixel| pixel.0[..3].iter().any(|v| *v > 60)).count();
        assert!(drawn(&first) > 500 && drawn(&last) > 500, "{name}: {} {}", drawn(&first), drawn(&last));
        assert!(first != last, "{name}: they move");
    }
}
