//! Plans: the sizes that serve a retrieval.

mod buffers;
pub mod choice;
pub mod limits;
pub mod problem;
mod splits;
#[cfg(test)]
mod tests;
