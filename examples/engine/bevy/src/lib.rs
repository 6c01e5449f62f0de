//! An associative memory in Bevy's render world. Entities with a [`Cue`] get a [`Recall`] some frames later: the cues
//! of all entities are answered together, recorded into Bevy's own command encoder on Bevy's own device, and nothing
//! submits or waits but Bevy.
//!
//! ```no_run
//! use attractor::Rule;
//! use attractor_bevy::{AddPatterns, AttractorPlugin, Cue, Recall};
//! use bevy_app::{App, Startup, Update};
//! use bevy_ecs::prelude::*;
//!
//! let mut app = App::new(); // with Bevy's DefaultPlugins, or its RenderPlugin at least, before ours
//! app.add_plugins(AttractorPlugin::new(4, Rule::softmax(8.0)));
//! app.add_systems(Startup, |mut patterns: MessageWriter<AddPatterns>, mut commands: Commands| {
//!     patterns.write(AddPatterns::new([1.0, 1.0, -1.0, -1.0, /* second pattern */ 1.0, -1.0, 1.0, -1.0]));
//!     commands.spawn(Cue(vec![0.9, 0.8, 0.0, 0.0]));
//! });
//! app.add_systems(Update, |recalls: Query<(Entity, &Recall), Changed<Recall>>| {
//!     for (entity, recall) in &recalls {
//!         println!("{entity}: {:?}", recall.output);
//!     }
//! });
//! app.run();
//! ```

pub mod headless;
mod messages;
mod render;

use attractor::retrieval::{FixedPoint, Stop};
use attractor::{MemoryOptions, PatternId, RetrieveOptions, Rule};
use bevy_app::{App, Plugin};
use bevy_diagnostic::FrameCountPlugin;
use bevy_ecs::change_detection::Tick;
use bevy_ecs::prelude::*;

pub use messages::{AddPatterns, PatternsAdded, RecallFailed};
pub use render::{RecallMemory, RecallSystems};

/// Puts a memory into the render world. Add it after Bevy's `RenderPlugin`.
#[derive(Clone, Debug)]
pub struct AttractorPlugin {
    /// The memory's dimension, rule and store.
    pub memory: MemoryOptions,
    /// When the iteration of a cue stops.
    pub stop: Stop,
    /// How many patterns of largest weight a [`Recall`] names.
    pub top: usize,
    /// Frames whose answers may be on their way at once. A device that falls behind further than this is not asked for
    /// the cues of a frame at all, so that work does not pile up.
    pub in_flight: usize,
}

impl AttractorPlugin {
    /// Patterns of `dim` floats recalled by `rule` in one step, of which the best match is named.
    pub fn new(dim: usize, rule: Rule) -> Self {
        Self::with_memory(MemoryOptions::new(dim, rule))
    }

    /// As [`AttractorPlugin::new`], with values, a precision or a bias of the memory's.
    pub fn with_memory(memory: MemoryOptions) -> Self {
        Self { memory, stop: Stop::Steps(1), top: 1, in_flight: 4 }
    }

    /// Stop after `steps` updates.
    pub fn steps(self, steps: u32) -> Self {
        self.stop(Stop::Steps(steps))
    }

    /// Sets [`AttractorPlugin::stop`].
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Sets [`AttractorPlugin::top`].
    pub fn top(mut self, patterns: usize) -> Self {
        self.top = patterns;
        self
    }

    /// Sets [`AttractorPlugin::in_flight`].
    pub fn in_flight(mut self, frames: usize) -> Self {
        self.in_flight = frames;
        self
    }

    fn retrieval(&self) -> RetrieveOptions {
        RetrieveOptions::default().stop(self.stop).top(self.top).statistics()
    }
}

impl Plugin for AttractorPlugin {
    fn build(&self, app: &mut App) {
        if !app.is_plugin_added::<FrameCountPlugin>() {
            app.add_plugins(FrameCountPlugin);
        }
        app.add_message::<AddPatterns>().add_message::<PatternsAdded>().add_message::<RecallFailed>();
        render::build(self, app);
    }
}

/// What an entity remembers from: as many floats as the memory has dimensions, all finite. An entity whose cue is not
/// of that kind gets no [`Recall`], which is logged once whenever the cue changes.
#[derive(Clone, Component, Debug, Default, PartialEq)]
pub struct Cue(pub Vec<f32>);

/// What the [`Cue`] of this entity recalled. It is written by the plugin, some frames after the cue was taken, and
/// again for each frame that was answered. An entity that loses its cue keeps the last one.
#[derive(Clone, Component, Debug, PartialEq)]
pub struct Recall {
    /// The weighted sum of the memory's values, after the last step.
    pub output: Vec<f32>,
    /// Steps done.
    pub steps: u32,
    /// Whether the last step changed no coordinate by more than the tolerance.
    pub converged: bool,
    /// Patterns with a weight above zero.
    pub support: u32,
    /// Whether one pattern was recalled, a mixture of some, or one of all.
    pub kind: FixedPoint,
    /// The patterns of largest weight with their weights, the largest first; at most [`AttractorPlugin::top`] of them.
    pub top: Vec<(PatternId, f32)>,
    /// Bevy's `FrameCount` in the frame whose cue was taken, as that frame's `Update` saw it.
    pub frame: u32,
    cue_changed: Tick,
}

impl Recall {
    /// The pattern of largest weight, if the plugin asks for one.
    pub fn best(&self) -> Option<PatternId> {
        self.top.first().map(|(id, _)| *id)
    }

    /// Whether `cue`, this entity's, is still the one that was taken.
    pub fn answers(&self, cue: &Ref<'_, Cue>) -> bool {
        self.cue_changed == cue.last_changed()
    }
}
