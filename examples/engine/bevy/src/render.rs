//! The render world's side: extract cues, upload them, record the retrieval in the render graph, and hand answers back.

use std::collections::VecDeque;
use std::ops::Deref;

use attractor::record::Rows;
use attractor::{Device, Memory, MemoryOptions, PatternIds, Pending, Retrieval, RetrieveOptions};
use bevy_app::App;
use bevy_diagnostic::FrameCount;
use bevy_ecs::change_detection::Tick;
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::SystemSet;
use bevy_log::{error, info, warn};
use bevy_platform::cell::SyncCell;
use bevy_render::render_resource::{BufferUsages, RawBufferVec};
use bevy_render::renderer::{RenderContext, RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue};
use bevy_render::{Extract, ExtractSchedule, MainWorld, Render, RenderApp, RenderStartup, RenderSystems};

use crate::{AddPatterns, AttractorPlugin, Cue, PatternsAdded, Recall, RecallFailed};

/// The memory, for systems of the render world that want to record retrievals of their own.
#[derive(Debug, Resource)]
pub struct RecallMemory(Memory);

impl Deref for RecallMemory {
    type Target = Memory;
    fn deref(&self) -> &Memory {
        &self.0
    }
}

/// Where the plugin's work is in Bevy's `RenderGraph` schedule, to order other systems by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, SystemSet)]
pub enum RecallSystems {
    /// The retrieval is recorded.
    Record,
}

/// How the memory is made and asked.
#[derive(Resource)]
struct Settings {
    memory: MemoryOptions,
    retrieval: RetrieveOptions,
    in_flight: usize,
}

/// Everything that was stored: Bevy may replace its device, and patterns live on one.
#[derive(Default, Resource)]
struct Stored(Vec<AddPatterns>);

/// Patterns that have been extracted and not been added.
#[derive(Default, Resource)]
struct Arriving(Vec<AddPatterns>);

/// Words for the main world, which only extraction can reach.
#[derive(Default, Resource)]
struct Outbox {
    added: Vec<attractor::Result<PatternIds>>,
    failed: Vec<RecallFailed>,
}

/// An entity whose cue was taken.
struct Asked {
    entity: Entity,
    cue_changed: Tick,
}

/// This frame's cues, side by side.
#[derive(Resource)]
struct Cues {
    rows: RawBufferVec<f32>,
    asked: Vec<Asked>,
    frame: u32,
}

impl Default for Cues {
    fn default() -> Self {
        let mut rows = RawBufferVec::new(BufferUsages::STORAGE);
        rows.set_label(Some("attractor_bevy.cues"));
        Self { rows, asked: Vec::new(), frame: 0 }
    }
}

/// The answers of one frame.
struct Batch {
    // An answer on its way can be sent between threads, but not shared.
    pending: SyncCell<Pending<Retrieval>>,
    asked: Vec<Asked>,
    frame: u32,
}

/// Answers on their way, the oldest first.
#[derive(Default, Resource)]
struct InFlight(VecDeque<Batch>);

pub fn build(plugin: &AttractorPlugin, app: &mut App) {
    let Some(render) = app.get_sub_app_mut(RenderApp) else {
        warn!("AttractorPlugin: there is no render world, so nothing will be recalled; is RenderPlugin added before?");
        return;
    };
    let (memory, retrieval) = (plugin.memory.clone(), plugin.retrieval());
    render
        .insert_resource(Settings { memory, retrieval, in_flight: plugin.in_flight.max(1) })
        .init_resource::<Stored>()
        .init_resource::<Arriving>()
        .init_resource::<Outbox>()
        .init_resource::<Cues>()
        .init_resource::<InFlight>()
        .add_systems(RenderStartup, create_memory)
        .add_systems(ExtractSchedule, (deliver, extract_patterns, extract_cues).chain())
        .add_systems(Render, (add_patterns, upload_cues).in_set(RenderSystems::PrepareResources))
        .add_systems(RenderGraph, record.in_set(RecallSystems::Record).in_set(RenderGraphSystems::Render));
}

/// Makes the memory on a device that Bevy has just opened, the first or one that replaces a lost one.
fn create_memory(world: &mut World) {
    let memory = {
        let (device, queue) = (world.resource::<RenderDevice>(), world.resource::<RenderQueue>());
        let settings = world.resource::<Settings>();
        Device::from_wgpu(device.wgpu_device(), queue).and_then(|device| {
            let mut memory = settings.memory.build(&device)?;
            for patterns in &world.resource::<Stored>().0 {
                memory.add(patterns.rows())?;
            }
            info!("recalling on {}", device.info());
            Ok(memory)
        })
    };
    // Neither buffers of another device nor what it has not answered are of use.
    world.insert_resource(Cues::default());
    let unanswered = std::mem::take(&mut world.resource_mut::<InFlight>().0);
    let replaced = unanswered.iter().map(|batch| RecallFailed::DeviceReplaced { frame: batch.frame });
    world.resource_mut::<Outbox>().failed.extend(replaced);
    match memory {
        Ok(memory) => world.insert_resource(RecallMemory(memory)),
        Err(why) => {
            error!("no memory on this device: {why}");
            world.remove_resource::<RecallMemory>();
            world.resource_mut::<Outbox>().failed.push(RecallFailed::Library(why));
        }
    }
}

/// Writes what has come into the main world.
fn deliver(
    mut main: ResMut<MainWorld>,
    mut in_flight: ResMut<InFlight>,
    mut outbox: ResMut<Outbox>,
    memory: Option<Res<RecallMemory>>,
) {
    // In the order in which they were asked: a later frame never makes place for an earlier one.
    while let Some(batch) = in_flight.0.front_mut() {
        let Some(answer) = batch.pending.get().try_take() else { break };
        match (answer, &memory) {
            (Ok(retrieval), Some(_)) => batch.deliver(&retrieval, &mut main),
            (Ok(_), None) => {}
            (Err(why), _) => outbox.failed.push(RecallFailed::Library(why)),
        }
        in_flight.0.pop_front();
    }
    main.write_message_batch(outbox.added.drain(..).map(PatternsAdded));
    main.write_message_batch(outbox.failed.drain(..));
}

impl Batch {
    fn deliver(&self, retrieval: &Retrieval, main: &mut World) {
        for (b, asked) in self.asked.iter().enumerate() {
            // Whoever was despawned or asks no more is not told. Entities have generations: an index that is used again
            // is another entity.
            let Ok(mut entity) = main.get_entity_mut(asked.entity) else { continue };
            if !entity.contains::<Cue>() {
                continue;
            }
            entity.insert(asked.recall(retrieval, b, self.frame));
        }
    }
}

impl Asked {
    fn recall(&self, retrieval: &Retrieval, b: usize, frame: u32) -> Recall {
        let statistics = retrieval.statistics.as_ref().expect("statistics are always asked for")[b];
        let top = retrieval.top.as_ref().map_or_else(Vec::new, |top| {
            let row = b * top.k..(b + 1) * top.k;
            top.ids[row.clone()]
                .iter()
                .zip(&top.weight[row])
                .filter_map(|(id, weight)| Some(((*id)?, *weight)))
                .collect()
        });
        Recall {
            output: retrieval.output_row(b).to_vec(),
            steps: retrieval.steps[b],
            converged: retrieval.converged[b],
            support: statistics.support,
            kind: statistics.kind,
            top,
            frame,
            cue_changed: self.cue_changed,
        }
    }
}

fn extract_patterns(mut new: Extract<MessageReader<AddPatterns>>, mut arriving: ResMut<Arriving>) {
    arriving.0.extend(new.read().cloned());
}

/// Takes the cues of this frame, unless answers are too far behind.
fn extract_cues(
    entities: Extract<Query<(Entity, Ref<Cue>)>>,
    frame: Extract<Res<FrameCount>>,
    memory: Option<Res<RecallMemory>>,
    in_flight: Res<InFlight>,
    settings: Res<Settings>,
    mut cues: ResMut<Cues>,
) {
    cues.rows.clear();
    cues.asked.clear();
    let Some(memory) = memory else { return };
    let takes = in_flight.0.len() < settings.in_flight;
    // The main schedule has counted the frame already when it ends.
    cues.frame = frame.0.wrapping_sub(1);
    for (entity, cue) in &entities {
        if cue.0.len() == memory.dim() && cue.0.iter().all(|x| x.is_finite()) {
            if !takes {
                continue;
            }
            cues.rows.values_mut().extend_from_slice(&cue.0);
            cues.asked.push(Asked { entity, cue_changed: cue.last_changed() });
        } else if cue.is_changed() {
            let (length, dim) = (cue.0.len(), memory.dim());
            warn!("the cue of {entity} has {length} floats and should have {dim}, all of them finite");
        }
    }
}

fn add_patterns(
    memory: Option<ResMut<RecallMemory>>,
    mut arriving: ResMut<Arriving>,
    mut stored: ResMut<Stored>,
    mut outbox: ResMut<Outbox>,
) {
    let Some(mut memory) = memory else { return };
    for patterns in arriving.0.drain(..) {
        let added = memory.0.add(patterns.rows());
        if added.is_ok() {
            stored.0.push(patterns);
        }
        outbox.added.push(added);
    }
}

fn upload_cues(mut cues: ResMut<Cues>, device: Res<RenderDevice>, queue: Res<RenderQueue>) {
    cues.rows.write_buffer(&device, &queue);
}

fn record(
    mut context: RenderContext,
    memory: Option<Res<RecallMemory>>,
    settings: Res<Settings>,
    mut cues: ResMut<Cues>,
    mut in_flight: ResMut<InFlight>,
    mut outbox: ResMut<Outbox>,
) {
    let asked = std::mem::take(&mut cues.asked);
    let (Some(memory), Some(buffer), false) = (memory, cues.rows.buffer(), asked.is_empty()) else { return };
    if memory.is_empty() {
        return;
    }
    let encoder = context.command_encoder();
    match memory.record_readback(encoder, asked.len(), Rows::new(buffer), &settings.retrieval) {
        Ok(pending) => in_flight.0.push_back(Batch { pending: SyncCell::new(pending), asked, frame: cues.frame }),
        Err(why) => outbox.failed.push(RecallFailed::Library(why)),
    }
}
