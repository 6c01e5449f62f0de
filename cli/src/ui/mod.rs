//! What people see: tables, progress, pictures, reports.

pub mod interrupt;
pub mod picture;
pub mod progress;
pub mod report;
pub mod table;
pub mod terminal;
