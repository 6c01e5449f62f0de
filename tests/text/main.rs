//! What is checked by reading: the kernels as text and as naga's modules, the imports of the source, and the public
//! interface. No device runs.

mod architecture;
mod metal;
mod public_api;
mod shaders;
mod uniform;
