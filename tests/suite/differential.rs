//! Random trials of every engine against the reference, whatever the numbers are: an answer is within its bound, or
//! it is refused. `attractor verify --random COUNT --seed SEED` runs the same. `ATTRACTOR_SLOW=1` runs the full
//! counts.

use attractor::{Device, PatternId, Retrieval};
use harness::trial::{self, Outcome, Trial, Way};

const SEED: u64 = 1;
/// Of the CPU engine, and of each adapter: the full count, and the usual one.
const FULL: [usize; 2] = [20_000, 500];
const USUAL: [usize; 2] = [600, 24];

fn count(device: &Device) -> usize {
    let slow = std::env::var_os("ATTRACTOR_SLOW").is_some();
    (if slow { FULL } else { USUAL })[usize::from(!device.is_cpu())]
}

/// Runs the trials whose number `takes`, and fails with what is wrong. Of all of them, no more than `refused` may be
/// refused.
fn all_hold(takes: impl Fn(usize) -> bool, refused: f64) {
    let mut failures = Vec::new();
    for (name, device) in harness::thorough_devices() {
        let count = count(device);
        let tally = trial::run(device, SEED, (0..count).filter(|number| takes(*number)), 2, || ());
        eprintln!("{name}: {} right, {} refused, {} wrong", tally.right, tally.refused, tally.wrong.len());
        let asked = tally.right + tally.refused + tally.wrong.len();
        assert!(tally.refused as f64 <= refused * asked as f64, "{name}: {} of {asked} are refused", tally.refused);
        for (number, why, shrunk) in tally.wrong {
            let shrunk = shrunk.map_or(String::new(), |shrunk| format!("\n{shrunk}"));
            failures.push(format!("{name}: trial {number} of seed {SEED}: {why}{shrunk}"));
        }
    }
    assert!(failures.is_empty(), "{} trials are wrong:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn usual_numbers() {
    all_hold(|number| !trial::is_extreme(number), 0.0);
}

#[test]
fn extreme_numbers() {
    all_hold(trial::is_extreme, 0.8);
}

/// Something of a query's answer that can be damaged: what it is, whether there is any, and how to.
type Damage = (&'static str, fn(&Trial) -> bool, fn(&mut Retrieval));

/// What a faulty engine might answer. The last query is damaged; nothing else is touched.
const DAMAGES: [Damage; 10] = [
    (
        "an output that is off by a thousandth",
        |_| true,
        |got| {
            let most = got.output.iter().fold(1e-30f32, |most, x| most.max(x.abs()));
            *got.output.last_mut().unwrap() += 1e-3 * most;
        },
    ),
    (
        "zeros instead of the answer",
        |_| true,
        |got| {
            let from = got.output.len() - got.value_dim;
            got.output[from..].fill(0.0);
            got.state.truncate(got.state.len() - got.dim);
            got.state.resize(got.batch * got.dim, 0.0);
        },
    ),
    ("NaN", |_| true, |got| *got.output.last_mut().unwrap() = f32::NAN),
    (
        "a weight that is off by a thousandth",
        |trial| trial.weights,
        |got| {
            let weights = got.weights.as_mut().unwrap();
            let from = weights.len() - got.patterns;
            let heaviest = weights[from..].iter_mut().max_by(|a, b| a.total_cmp(b)).unwrap();
            *heaviest -= 1e-3;
        },
    ),
    (
        "the weights of two patterns swapped",
        |trial| trial.weights && trial.case.patterns() > 1,
        |got| {
            let weights = got.weights.as_mut().unwrap();
            let from = weights.len() - got.patterns;
            weights[from..].rotate_left(1);
        },
    ),
    (
        "another pattern on top",
        |trial| trial.top > 0 && trial.case.patterns() > 1,
        |got| {
            let patterns = got.patterns as u64;
            let top = got.top.as_mut().unwrap();
            let at = top.ids.len() - top.k;
            top.ids[at] = top.ids[at].map(|id| PatternId((id.0 + 1) % patterns));
        },
    ),
    (
        "a pattern more of a least weight",
        |trial| trial.least_weight.is_some(),
        |got| {
            *got.top.as_mut().unwrap().found.as_mut().unwrap().last_mut().unwrap() += 1;
        },
    ),
    (
        "a pattern more in the support",
        |trial| trial.statistics,
        |got| {
            got.statistics.as_mut().unwrap().last_mut().unwrap().support += 1;
        },
    ),
    (
        "a largest weight that is off by a thousandth",
        |trial| trial.statistics,
        |got| {
            got.statistics.as_mut().unwrap().last_mut().unwrap().largest -= 1e-3;
        },
    ),
    (
        "an energy that is off by a hundredth",
        |trial| trial.energy,
        |got| {
            let energy = got.energy.as_mut().unwrap().last_mut().unwrap();
            *energy += 0.01 * energy.abs().max(1.0);
        },
    ),
];

/// The judge is no judge where it lets damage pass. Some damage does nothing (an output of zeros, equal weights, all
/// of a memory in the support), so that most of it has to be found, not all.
#[test]
fn damage_is_found() {
    if !harness::runs_on("cpu") {
        return;
    }
    let device = Device::cpu();
    for (what, there, damage) in DAMAGES {
        let (mut found, mut tried) = (0, 0);
        let trials = (0..3000).filter(|number| !trial::is_extreme(*number)).map(|number| trial::trial(SEED, number));
        for trial in trials.filter(|trial| trial.way != Way::Parts && there(trial)).take(150) {
            let changes = std::cell::Cell::new(false);
            let outcome = trial.run(&device, |got| {
                let before = got.clone();
                damage(got);
                changes.set(*got != before);
            });
            if changes.get() {
                tried += 1;
                found += usize::from(matches!(outcome, Outcome::Wrong(_)));
            }
        }
        eprintln!("{what}: {found} of {tried} found");
        assert!(tried >= 50 && 10 * found >= 9 * tried, "{what}: {found} of {tried} found");
    }
}
