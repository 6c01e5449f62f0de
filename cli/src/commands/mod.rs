//! The commands, one a file or a folder.

pub mod bench;
pub mod completions;
pub mod devices;
pub mod family;
pub mod recall;
pub mod retrieve;
pub mod search;
mod stored;
pub mod tune;
pub mod verify;
