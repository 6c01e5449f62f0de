//! What is a matter of a whole process: what it leaves behind, what it holds, how its memory runs out, and what it does
//! when a device or the disk goes away. `./test.sh` gives each module a process of its own.

#[cfg(target_os = "linux")]
mod host_memory;
mod leaks;
mod loss;
mod pipeline_cache;
mod saves;
mod scale;
mod soak;
