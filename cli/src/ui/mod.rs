//! What people see: tables, progress, pictures.

pub mod picture;
pub mod progress;
pub mod table;
