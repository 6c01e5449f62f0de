//! Bevy without a window: what its render crate needs to run, and nothing that draws.

use bevy_app::{App, TaskPoolPlugin};
use bevy_asset::AssetPlugin;
use bevy_camera::CameraPlugin;
use bevy_diagnostic::FrameCountPlugin;
use bevy_ecs::prelude::*;
use bevy_image::ImagePlugin;
use bevy_mesh::MeshPlugin;
use bevy_render::renderer::{FlushCommands, RenderGraph, RenderGraphSystems};
use bevy_render::settings::{RenderCreation, WgpuSettings};
use bevy_render::{RenderApp, RenderPlugin};
use bevy_time::TimePlugin;
use bevy_window::{ExitCondition, WindowPlugin};

/// An app that renders nothing, on the device that `settings` choose. Bevy's own environment variables choose, too:
/// `WGPU_BACKEND`, `WGPU_ADAPTER_NAME`, `WGPU_FORCE_FALLBACK_ADAPTER`.
pub fn app(settings: WgpuSettings) -> App {
    let mut app = App::new();
    app.add_plugins((
        TaskPoolPlugin::default(),
        FrameCountPlugin,
        TimePlugin,
        AssetPlugin::default(),
        WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..WindowPlugin::default() },
        ImagePlugin::default(),
        MeshPlugin,
        CameraPlugin,
        RenderPlugin {
            render_creation: RenderCreation::Automatic(Box::new(settings)),
            synchronous_pipeline_compilation: true,
            ..RenderPlugin::default()
        },
    ));
    // In a whole Bevy it is bevy_core_pipeline that submits what the render graph has recorded.
    if let Some(render) = app.get_sub_app_mut(RenderApp) {
        let submit = |mut commands: FlushCommands| commands.flush();
        render.add_systems(RenderGraph, submit.in_set(RenderGraphSystems::Submit));
    }
    app
}

/// Finishes the plugins, as a runner does before its first frame.
pub fn ready(app: &mut App) {
    while app.plugins_state() == bevy_app::PluginsState::Adding {
        std::thread::yield_now();
    }
    app.finish();
    app.cleanup();
}
