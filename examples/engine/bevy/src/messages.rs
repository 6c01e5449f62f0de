//! What passes between the main world and the memory in the render world.

use std::fmt;

use attractor::{PatternIds, Patterns};
use bevy_ecs::prelude::*;

/// Written by the application: rows to be stored. They are there from the next frame that is rendered.
#[derive(Clone, Debug, Message)]
pub struct AddPatterns {
    /// `n x d` floats, row-major.
    pub keys: Vec<f32>,
    /// `n x dv` floats, exactly where the memory has a value dimension.
    pub values: Option<Vec<f32>>,
    /// `n` floats, where the memory has a bias.
    pub bias: Option<Vec<f32>>,
}

impl AddPatterns {
    /// Patterns that are their own values.
    pub fn new(keys: impl Into<Vec<f32>>) -> Self {
        Self { keys: keys.into(), values: None, bias: None }
    }

    pub(crate) fn rows(&self) -> Patterns<'_> {
        let mut rows = Patterns::new(&self.keys);
        if let Some(values) = &self.values {
            rows = rows.values(values);
        }
        if let Some(bias) = &self.bias {
            rows = rows.bias(bias);
        }
        rows
    }
}

/// Written by the plugin: what became of an [`AddPatterns`]. There is one for each, in the same order.
#[derive(Debug, Message)]
pub struct PatternsAdded(pub attractor::Result<PatternIds>);

/// Written by the plugin: there is no memory on this device, or the cues of a frame were not answered.
#[derive(Debug, Message)]
pub enum RecallFailed {
    /// The library refused a call, or gave an error for an answer.
    Library(attractor::Error),
    /// The device was replaced before it answered the cues of this frame.
    DeviceReplaced {
        /// The frame, as Bevy counts them.
        frame: u32,
    },
}

impl fmt::Display for RecallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::DeviceReplaced { frame } => {
                write!(f, "AttractorPlugin: the device was replaced before it answered the cues of frame {frame}")
            }
        }
    }
}
