//! Several memories in one loop: resonator networks, bidirectional memories, memory networks of several hops.
//!
//! A [`Network`] has vectors of `d` coordinates for each query: inputs, which stay, and states, which updates change. An
//! [update](Network::update) recalls from a memory by the product of some vectors, and puts what the memory's
//! [`Rule`](crate::Rule) makes of it into a state. One iteration is every update once, in order, each of which sees the
//! newest states; or [together](Network::together), each of which sees the states as they were before. A query stops
//! by itself, once no state of it changes.
//!
//! ```
//! use attractor::network::Network;
//! use attractor::{Device, Memory, RetrieveOptions, Rule};
//! // A scene binds a shape and a colour by their product. Which ones?
//! let shapes = [1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, /* */ 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0];
//! let colours = [-1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, /* */ 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0];
//! let scene: Vec<f32> = shapes[..8].iter().zip(&colours[8..]).map(|(shape, colour)| shape * colour).collect();
//!
//! let memory = |rows: &[f32]| -> attractor::Result<Memory> {
//!     let mut memory = Memory::new(&Device::cpu(), 8, Rule::resonator())?;
//!     memory.add(rows)?;
//!     Ok(memory)
//! };
//! let (shape_memory, colour_memory) = (memory(&shapes)?, memory(&colours)?);
//! let mut network = Network::new(8);
//! let (seen, shape, colour) = (network.vector(), network.vector(), network.vector());
//! network.update(shape, &shape_memory, [seen, colour]);
//! network.update(colour, &colour_memory, [seen, shape]);
//!
//! let ones = [1.0; 8]; // the sign of the sum of a codebook is the usual start
//! let found = network.retrieve_blocking(&[&scene, &ones, &ones], &RetrieveOptions::converge(50, 1e-6))?;
//! assert_eq!((found.state(shape), found.state(colour)), (&shapes[..8], &colours[8..]));
//! # Ok::<(), attractor::Error>(())
//! ```

mod answer;
mod handle;
mod product;
mod targets;

pub use answer::NetworkRetrieval;
pub use handle::Network;
pub use product::{Product, VectorId};
pub use targets::NetworkTargets;
