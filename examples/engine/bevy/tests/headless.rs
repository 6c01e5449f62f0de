//! Bevy without a window, on whatever adapter it takes: what is recalled is judged by attractor's reference.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use attractor::reference::{Problem, top};
use attractor::retrieval::Stop;
use attractor::wgpu::{BufferDescriptor, BufferUsages, PollType};
use attractor::{MemoryOptions, PatternId, Precision, Rule, Separation, Similarity};
use attractor_bevy::{AddPatterns, AttractorPlugin, Cue, PatternsAdded, Recall, RecallFailed, headless};
use bevy_app::App;
use bevy_diagnostic::FrameCount;
use bevy_ecs::message::MessageCursor;
use bevy_ecs::prelude::*;
use bevy_render::RenderApp;
use bevy_render::error_handler::{ErrorType, RenderErrorHandler, RenderErrorPolicy};
use bevy_render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy_render::renderer::RenderDevice;
use bevy_render::settings::{RenderCreation, WgpuSettings};
use harness::Rng;

const DIM: usize = 12;
/// How long an answer may take: frames without a window are short, and an adapter may be slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// An app under test, with everything that it has been told.
struct Host {
    app: App,
    plugin: AttractorPlugin,
    rule: Rule,
    keys: Vec<f32>,
    /// Every cue that an entity had, by the frame that took it.
    cues: HashMap<(Entity, u32), Vec<f32>>,
    added: MessageCursor<PatternsAdded>,
    failed: MessageCursor<RecallFailed>,
}

impl Host {
    fn new(plugin: AttractorPlugin, rule: Rule) -> Self {
        Self::with(plugin, rule, |_| {})
    }

    fn with(plugin: AttractorPlugin, rule: Rule, more: impl FnOnce(&mut App)) -> Self {
        let mut app = headless::app(WgpuSettings::default());
        app.add_plugins(plugin.clone());
        more(&mut app);
        headless::ready(&mut app);
        let (added, failed) = Default::default();
        Self { app, plugin, rule, keys: Vec::new(), cues: HashMap::new(), added, failed }
    }

    fn world(&mut self) -> &mut World {
        self.app.world_mut()
    }

    fn frame(&self) -> u32 {
        self.app.world().resource::<FrameCount>().0
    }

    fn add(&mut self, keys: Vec<f32>) {
        self.keys.extend(&keys);
        self.world().write_message(AddPatterns::new(keys));
    }

    fn spawn(&mut self, cue: Vec<f32>) -> Entity {
        self.world().spawn(Cue(cue)).id()
    }

    /// One frame, after which Bevy must not have given up.
    fn update(&mut self) {
        let frame = self.frame();
        let mut cues = self.app.world_mut().query::<(Entity, &Cue)>();
        let cues = cues.iter(self.app.world()).map(|(entity, cue)| ((entity, frame), cue.0.clone()));
        self.cues.extend(cues);
        self.app.update();
        // What Bevy does with a validation error unless it is told otherwise.
        assert_eq!(self.app.should_exit(), None, "frame {frame}");
    }

    /// Frames until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.update();
            if done(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("after {PATIENCE:?}: no {what}");
    }

    fn recall(&self, entity: Entity) -> Option<&Recall> {
        self.app.world().get::<Recall>(entity)
    }

    /// Whether `entity` has an answer to a cue of `frame` or later.
    fn answered_since(&self, entity: Entity, frame: u32) -> bool {
        self.recall(entity).is_some_and(|recall| recall.frame >= frame)
    }

    fn added(&mut self) -> Vec<String> {
        let messages = self.app.world().resource::<Messages<PatternsAdded>>();
        let word = |added: &PatternsAdded| match &added.0 {
            Ok(ids) => format!("{} patterns", ids.len()),
            Err(why) => why.to_string(),
        };
        self.added.read(messages).map(word).collect()
    }

    fn failed(&mut self) -> Vec<String> {
        let messages = self.app.world().resource::<Messages<RecallFailed>>();
        self.failed.read(messages).map(|failed| failed.to_string()).collect()
    }

    /// Judges the recall of `entity` by the reference over the first `patterns`, for the cue that was taken in its
    /// frame.
    fn judge(&self, entity: Entity, patterns: usize) {
        let recall = self.recall(entity).expect("answer");
        let cue = &self.cues[&(entity, recall.frame)];
        let problem = Problem::new(self.rule, DIM, &self.keys[..patterns * DIM]);
        let expected = match self.plugin.stop {
            Stop::Steps(steps) => problem.retrieve(cue, steps),
            Stop::Converge { max_steps, tolerance } => problem.converge(cue, max_steps, f64::from(tolerance)),
            other => unreachable!("{other:?} is of another version"),
        };
        assert_eq!(recall.output.len(), expected.output.len());
        for (got, wanted) in recall.output.iter().zip(&expected.output) {
            assert!((f64::from(*got) - wanted).abs() < 2e-5, "{entity}: {:?} is not {expected:?}", recall.output);
        }
        assert_eq!(recall.steps, expected.steps, "{entity}");
        let support = expected.weights.iter().filter(|weight| **weight > 1e-6).count() as u32;
        assert!(recall.support >= support && recall.support <= patterns as u32, "{entity}: {support}, {recall:?}");
        let best = top(&expected.weights, &expected.scores, self.plugin.top);
        for ((id, weight), wanted) in recall.top.iter().zip(&best) {
            assert!((f64::from(*weight) - expected.weights[*wanted]).abs() < 2e-5, "{entity}: {best:?}, {recall:?}");
            assert_eq!(*id, PatternId(*wanted as u64), "{entity}");
        }
        assert_eq!(recall.top.len(), self.plugin.top.min(patterns), "{entity}");
    }
}

fn plugin(rule: Rule) -> AttractorPlugin {
    AttractorPlugin::new(DIM, rule)
}

#[test]
fn cues_that_change_each_frame() {
    let rules = [
        (Rule::softmax(3.0), Stop::Steps(2)),
        (Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 6.0), Stop::Steps(1)),
        (Rule::new(Similarity::Euclidean, Separation::Softmax, 4.0), Stop::Converge { max_steps: 20, tolerance: 1e-3 }),
    ];
    for (rule, stop) in rules {
        let mut rng = Rng(1);
        let mut host = Host::new(plugin(rule).stop(stop).top(3), rule);
        host.add(rng.vector(40 * DIM));
        let entities: Vec<Entity> = (0..9).map(|_| host.spawn(rng.vector(DIM))).collect();
        let mut answers = 0;
        let mut latest = HashMap::new();
        host.until("fifteen answers each", |host| {
            for &entity in &entities {
                if let Some(recall) = host.recall(entity)
                    && latest.insert(entity, recall.frame) != Some(recall.frame)
                {
                    host.judge(entity, 40);
                    answers += 1;
                }
                host.world().get_mut::<Cue>(entity).unwrap().0 = rng.vector(DIM);
            }
            answers >= 15 * entities.len()
        });
        assert_eq!(host.failed(), [""; 0]);
        assert_eq!(host.added(), [""; 0], "the message of the first frames is gone by now");
    }
}

#[test]
fn a_recall_says_whether_it_answers_the_cue_at_hand() {
    let rule = Rule::softmax(3.0);
    let mut host = Host::new(plugin(rule), rule);
    host.add(Rng(2).vector(5 * DIM));
    let entity = host.spawn(vec![0.1; DIM]);
    let answers = |host: &mut Host| {
        let mut query = host.world().query::<(Ref<Cue>, &Recall)>();
        query.single(host.app.world()).is_ok_and(|(cue, recall)| recall.answers(&cue))
    };
    host.until("answer", answers);
    host.world().get_mut::<Cue>(entity).unwrap().0[0] = 0.5;
    assert!(!answers(&mut host));
    let changed = host.frame();
    host.until("answer to the new cue", answers);
    assert!(host.answered_since(entity, changed));
    host.judge(entity, 5);
}

#[test]
fn entities_that_come_and_go() {
    let rule = Rule::softmax(3.0);
    let mut rng = Rng(3);
    let mut host = Host::new(plugin(rule), rule);
    host.add(rng.vector(20 * DIM));
    let mut entities: Vec<Entity> = (0..6).map(|_| host.spawn(rng.vector(DIM))).collect();
    host.until("answer each", |host| entities.iter().all(|entity| host.recall(*entity).is_some()));
    // Others every few frames, some of which die before they are answered; indices are used again.
    for frame in 0..60 {
        let place = frame % entities.len();
        host.world().despawn(entities[place]);
        entities[place] = host.spawn(rng.vector(DIM));
        host.update();
        for entity in &entities {
            if host.recall(*entity).is_some() {
                host.judge(*entity, 20);
            }
        }
    }
    let now = host.frame();
    host.until("answer each", |host| entities.iter().all(|entity| host.answered_since(*entity, now)));

    // One that asks no more keeps its last answer and gets no other, and a batch may be of none.
    host.world().entity_mut(entities[0]).remove::<Cue>().remove::<Recall>();
    for entity in &entities[1..] {
        host.world().despawn(*entity);
    }
    (0..20).for_each(|_| host.update());
    assert!(host.recall(entities[0]).is_none());
    assert_eq!(host.failed(), [""; 0]);
}

#[test]
fn patterns_that_are_added_while_it_runs() {
    let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, 30.0);
    let mut rng = Rng(4);
    let mut host = Host::new(plugin(rule), rule);
    let entity = host.spawn(vec![0.25; DIM]);
    // Nothing is stored, so nothing is asked.
    (0..5).for_each(|_| host.update());
    assert!(host.recall(entity).is_none() && host.failed().is_empty());

    let mut words = Vec::new();
    for round in 0..4 {
        let patterns = 30 * (round + 1);
        host.add(rng.vector(29 * DIM));
        // Each round's last pattern is nearer than all before.
        host.add((0..DIM).map(|_| 0.25 + 0.1 / (round + 1) as f32 * rng.unit()).collect());
        host.world().write_message(AddPatterns::new([0.0; DIM + 1]));
        let since = host.frame();
        host.until("recall of the newest", |host| {
            words.extend(host.added());
            host.answered_since(entity, since) && host.recall(entity).unwrap().best() == Some(PatternId(patterns - 1))
        });
        host.judge(entity, patterns as usize);
    }
    host.update();
    words.extend(host.added());
    assert_eq!(words.len(), 12);
    for round in words.chunks(3) {
        assert_eq!(round[..2], ["29 patterns", "1 patterns"]);
        assert!(round[2].contains("12 floats"), "{}", round[2]);
    }
}

#[test]
fn cues_that_are_none_do_no_harm() {
    let rule = Rule::softmax(3.0);
    let mut rng = Rng(5);
    let mut host = Host::new(plugin(rule), rule);
    host.add(rng.vector(10 * DIM));
    let short = host.spawn(vec![1.0; DIM - 1]);
    let endless = host.spawn(vec![f32::INFINITY; DIM]);
    let good = host.spawn(rng.vector(DIM));
    host.until("answer", |host| host.recall(good).is_some());
    host.judge(good, 10);
    (0..10).for_each(|_| host.update());
    assert!(host.recall(short).is_none() && host.recall(endless).is_none());
    // Mended, it is asked like any other.
    host.world().get_mut::<Cue>(short).unwrap().0.push(0.5);
    host.until("answer", |host| host.recall(short).is_some());
    host.judge(short, 10);
    assert_eq!(host.failed(), [""; 0]);
}

#[test]
fn a_memory_with_values_in_f16() {
    let rule = Rule::softmax(2.0);
    let memory = MemoryOptions::new(DIM, rule).value_dim(2).precision(Precision::F16);
    let mut host = Host::new(AttractorPlugin::with_memory(memory), rule);
    let mut keys = vec![0.0; 2 * DIM];
    (keys[0], keys[DIM + 1]) = (8.0, 8.0);
    let (values, bias) = (Some(vec![1.0, 2.0, 3.0, 4.0]), None);
    host.world().write_message(AddPatterns { keys, values, bias });
    let mut cue = vec![0.0; DIM];
    cue[1] = 4.0;
    let entity = host.spawn(cue);
    host.until("answer", |host| host.recall(entity).is_some());
    assert_eq!(host.recall(entity).unwrap().output, [3.0, 4.0]);
}

#[test]
fn rendering_in_a_thread_of_its_own() {
    let rule = Rule::softmax(3.0);
    let mut rng = Rng(6);
    let mut host = Host::with(plugin(rule).steps(2).in_flight(2), rule, |app| {
        app.add_plugins(PipelinedRenderingPlugin);
    });
    host.add(rng.vector(25 * DIM));
    let entities: Vec<Entity> = (0..5).map(|_| host.spawn(rng.vector(DIM))).collect();
    for _ in 0..10 {
        let since = host.frame();
        host.until("answer each", |host| entities.iter().all(|entity| host.answered_since(*entity, since)));
        for &entity in &entities {
            host.judge(entity, 25);
            host.world().get_mut::<Cue>(entity).unwrap().0 = rng.vector(DIM);
        }
    }
    assert_eq!(host.failed(), [""; 0]);
}

/// There because Bevy was told to replace its device.
#[derive(Resource)]
struct Replaced;

/// Bevy replaces a lost device, and the memory comes along.
#[test]
fn a_device_that_is_lost() {
    let rule = Rule::softmax(3.0);
    let mut rng = Rng(7);
    let mut host = Host::new(plugin(rule), rule);
    host.world().insert_resource(RenderErrorHandler(|error, main, _| {
        assert!(matches!(error.ty, ErrorType::DeviceLost), "{error:?}");
        main.insert_resource(Replaced);
        RenderErrorPolicy::Recover(RenderCreation::Automatic(Box::default()))
    }));
    host.add(rng.vector(15 * DIM));
    let entity = host.spawn(rng.vector(DIM));
    host.until("answer", |host| host.recall(entity).is_some());
    let device = host.app.sub_app(RenderApp).world().resource::<RenderDevice>().wgpu_device().clone();
    device.destroy();
    // A device tells of its end when it is polled.
    let _ = device.poll(PollType::wait_indefinitely());
    let since = host.frame();
    host.until("answer from another device", |host| host.answered_since(entity, since));
    assert!(host.world().contains_resource::<Replaced>());
    host.judge(entity, 15);
    // Patterns from before and after the loss are one memory.
    host.add(rng.vector(3 * DIM));
    let since = host.frame() + 1;
    host.until("answer with the newest patterns", |host| host.answered_since(entity, since));
    host.judge(entity, 18);
}

/// The other tests would notice: Bevy's own handlers are in place behind ours.
#[test]
fn a_validation_error_of_the_host_reaches_bevy() {
    let rule = Rule::softmax(3.0);
    let mut host = Host::new(plugin(rule), rule);
    host.add(vec![0.5; DIM]);
    let entity = host.spawn(vec![1.0; DIM]);
    host.until("answer", |host| host.recall(entity).is_some());
    let device = host.app.sub_app(RenderApp).world().resource::<RenderDevice>().wgpu_device();
    let _ = device.create_buffer(&BufferDescriptor {
        label: Some("usages that exclude each other"),
        size: 16,
        usage: BufferUsages::empty(),
        mapped_at_creation: false,
    });
    host.app.update();
    assert!(host.app.should_exit().is_some_and(|exit| exit.is_error()));
}
