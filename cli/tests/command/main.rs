//! The command as a user meets it: files, exit status, messages, reports, and what a terminal shows.

mod bench;
mod commands;
mod common;
mod family;
mod memcheck;
mod terminal;
mod tune;
mod verify;
