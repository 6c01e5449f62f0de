//! Bevy without a window: entities with noisy cues of stored patterns, recalled in Bevy's render world.
//! `cargo run --ignore-rust-version -- --entities 200 --frames 30`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use attractor::{PatternId, Rule};
use attractor_bevy::{AddPatterns, AttractorPlugin, Cue, PatternsAdded, Recall, RecallFailed, headless};
use bevy_app::{App, AppExit, Startup, Update};
use bevy_diagnostic::FrameCount;
use bevy_ecs::prelude::*;
use bevy_log::LogPlugin;
use bevy_render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy_render::settings::WgpuSettings;
use harness::Rng;

const USAGE: &str = "attractor-bevy [--entities N] [--frames N] [--patterns N] [--dim N] [--pipelined]
The adapter is chosen by WGPU_BACKEND, WGPU_ADAPTER_NAME and WGPU_FORCE_FALLBACK_ADAPTER.";
const FRAME: Duration = Duration::from_micros(16_667);
/// How long an entity may wait for its first answer once all frames have been shown.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Resource)]
struct Scene {
    entities: usize,
    frames: usize,
    patterns: usize,
    dim: usize,
    pipelined: bool,
}

/// What the entity's cue was made from.
#[derive(Component)]
struct Wanted(usize);

/// What has come so far.
#[derive(Default, Resource)]
struct Seen {
    answers: usize,
    wrong: usize,
    failed: usize,
    /// Answers by frames from the cue to the `Update` that saw the answer.
    latency: BTreeMap<u32, usize>,
}

fn main() -> ExitCode {
    let scene = match arguments() {
        Ok(Some(scene)) => scene,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut app = headless::app(WgpuSettings::default());
    app.add_plugins((LogPlugin::default(), AttractorPlugin::new(scene.dim, Rule::softmax(0.5)).steps(3)));
    if scene.pipelined {
        app.add_plugins(PipelinedRenderingPlugin);
    }
    app.insert_resource(scene).init_resource::<Seen>().add_systems(Startup, populate).add_systems(Update, watch);
    headless::ready(&mut app);

    let mut unanswered = app.world_mut().query_filtered::<(), (With<Wanted>, Without<Recall>)>();
    let mut times = Vec::new();
    let mut deadline = None;
    loop {
        let start = Instant::now();
        app.update();
        times.push(start.elapsed());
        if let Some(AppExit::Error(code)) = app.should_exit() {
            eprintln!("Bevy gave up: exit status {code}");
            return ExitCode::FAILURE;
        }
        if times.len() >= scene.frames {
            let deadline = *deadline.get_or_insert(start + PATIENCE);
            if unanswered.iter(app.world()).next().is_none() || Instant::now() > deadline {
                break;
            }
        }
        std::thread::sleep(FRAME.saturating_sub(start.elapsed()));
    }
    report(&mut app, scene, times)
}

fn report(app: &mut App, scene: Scene, mut times: Vec<Duration>) -> ExitCode {
    let mut recalls = app.world_mut().query::<(&Wanted, &Recall)>();
    let right = recalls.iter(app.world()).filter(|(wanted, recall)| recalled(wanted, recall)).count();
    let seen = app.world().resource::<Seen>();
    let Scene { entities, patterns, dim, .. } = scene;
    println!("{entities} entities, {patterns} patterns of {dim} floats, {} frames", times.len());
    println!("recalled the right pattern: {right} of {entities} entities");
    println!("answers: {}, of them wrong: {}, frames that failed: {}", seen.answers, seen.wrong, seen.failed);
    let latency: Vec<String> = seen.latency.iter().map(|(frames, count)| format!("{frames} ({count})")).collect();
    println!("frames from cue to answer (answers): {}", latency.join(", "));
    let first = times[0];
    times.sort();
    println!("first frame (kernels are compiled): {first:.1?}, median: {:.1?}", times[times.len() / 2]);
    if right == entities && seen.wrong + seen.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn populate(scene: Res<Scene>, mut patterns: MessageWriter<AddPatterns>, mut commands: Commands) {
    let mut rng = Rng(7);
    let Scene { entities, patterns: count, dim, .. } = *scene;
    let keys: Vec<f32> = (0..count * dim).map(|_| rng.unit().signum()).collect();
    for entity in 0..entities {
        let wanted = entity % count;
        // Up to one coordinate in two is lost, and the others are blurred.
        let blur = |x: &f32| if rng.unit() < 0.0 { 0.0 } else { x + 0.5 * rng.unit() };
        let cue = keys[wanted * dim..(wanted + 1) * dim].iter().map(blur).collect();
        commands.spawn((Cue(cue), Wanted(wanted)));
    }
    patterns.write(AddPatterns::new(keys));
}

fn watch(
    frame: Res<FrameCount>,
    mut seen: ResMut<Seen>,
    recalls: Query<(&Wanted, &Recall), Changed<Recall>>,
    mut added: MessageReader<PatternsAdded>,
    mut failed: MessageReader<RecallFailed>,
) {
    for (wanted, recall) in &recalls {
        seen.answers += 1;
        seen.wrong += usize::from(!recalled(wanted, recall));
        *seen.latency.entry(frame.0.wrapping_sub(recall.frame)).or_default() += 1;
    }
    let refused = added.read().filter_map(|added| added.0.as_ref().err()).map(ToString::to_string);
    for why in refused.chain(failed.read().map(ToString::to_string)) {
        eprintln!("{why}");
        seen.failed += 1;
    }
}

fn recalled(wanted: &Wanted, recall: &Recall) -> bool {
    // Patterns count from 0 in the order in which they were added.
    recall.best() == Some(PatternId(wanted.0 as u64))
}

fn arguments() -> Result<Option<Scene>, String> {
    let mut scene = Scene { entities: 200, frames: 30, patterns: 500, dim: 64, pipelined: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let number = match name.as_str() {
            "--entities" => &mut scene.entities,
            "--frames" => &mut scene.frames,
            "--patterns" => &mut scene.patterns,
            "--dim" => &mut scene.dim,
            "--pipelined" => {
                scene.pipelined = true;
                continue;
            }
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown argument {name}")),
        };
        let value = arguments.next().ok_or(format!("{name} needs a number"))?;
        *number = value.parse().ok().filter(|n| *n > 0).ok_or(format!("{name} needs a number from 1, not {value}"))?;
    }
    Ok(Some(scene))
}
