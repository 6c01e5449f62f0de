//! What every device has to do, on the CPU engine and each adapter of this machine.
//!
//! One program, so that a device compiles each kernel once for all of its tests. `ATTRACTOR_TEST_DEVICES` chooses the
//! devices: `./test.sh` runs this program once for each of them, and the tests that compare devices with each other,
//! whose names begin with `across_devices`, once for all. `tests/README.md` says what each module proves.

mod arguments;
mod attacks;
mod bounds;
mod conformance;
mod cooperate;
mod corpus;
mod differential;
mod entmax;
mod errors;
mod exact;
mod explain;
mod family;
mod files;
mod futures;
mod golden;
mod host;
mod ids;
mod job;
mod keyed;
mod levels;
mod limits;
mod masks;
mod networks;
mod networks_recorded;
mod partial;
mod properties;
mod record;
mod rows_in_file;
mod rules;
mod search;
mod shapes;
mod streaming;
mod threads;
mod top;
mod tune;
mod updates;
