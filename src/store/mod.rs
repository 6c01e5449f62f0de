//! Stored patterns: their row layout, the windows that hold them, and the ids by which callers know them.

mod encoding;
#[cfg(feature = "files")]
pub mod files;
mod host_rows;
mod ids;
mod layout;
mod names;
mod row_source;
mod rows;
mod snapshots;
mod view;
mod windows;

pub(crate) use encoding::{Encoded, EncodedRows, check_halves, decode, decode_into, half_of, try_decode};
pub(crate) use encoding::{quantize, quantize_bounded};
pub(crate) use host_rows::HostRows;
pub(crate) use ids::{Ids, Places};
pub(crate) use layout::{Layout, stride};
pub(crate) use names::Names;
pub(crate) use row_source::{RowSource, RowSources};
pub(crate) use rows::NewRows;
pub use rows::Pattern;
pub(crate) use snapshots::{Snapshot, Snapshots};
pub(crate) use view::{Alive, View};
pub(crate) use windows::{Growth, Window, Windows};
