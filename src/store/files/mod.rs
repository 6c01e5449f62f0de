//! Tensors and memories in files.
//!
//! A tensor is read from `file.npy` or `file.safetensors:tensor` ([`Address`]), piece by piece ([`Tensor`]);
//! [`PatternFiles`] joins the keys, values and biases that [`Memory::import`](crate::Memory::import) stores.
//! [`Memory::save`](crate::Memory::save) and [`Memory::load`](crate::Memory::load) keep whole memories; [`SavedMemory`]
//! tells what a file holds before it is loaded.
//!
//! Files are copied before they are checked, and never mapped: another process that writes to a file, or truncates it,
//! can cause an error, but it cannot change numbers that have been checked. Only regular files are read.
//!
//! Files are written atomically ([`write_whole`], [`write_tensors`]): to a temporary file beside the target, synced and
//! renamed. The target must be absent or a regular file. Symbolic links are followed, and mode and owner are kept.
//!
//! # A saved memory
//!
//! is a safetensors file, so other software reads it, too. With `N` positions in use:
//!
//! | tensor | shape | dtype | there |
//! |---|---|---|---|
//! | `keys` | N x d | F32, F16 or I8 | always |
//! | `key_scales` | N | F32 | in 8 bits: a key is its levels times its scale |
//! | `values`, `value_scales` | N x dv, N | as the keys | where the memory has values |
//! | `bias` | N | F32 | where the memory has biases |
//! | `ids` | N | U64 | once a pattern has been removed; 2^64 - 1 where one was, and its rows are zeros |
//!
//! Its metadata, all text: `format` (`attractor.memory`), `version` (`2`), `similarity`, `separation`, `alpha` or `k`
//! where the separation has one, `beta`, `dim`, `value_dim` where there are values, `precision`, `saturate` (`true`)
//! where the memory was built with [`MemoryOptions::saturate`](crate::MemoryOptions::saturate), `bias` (`true` or
//! `false`), `next_id` (the id of the next pattern to be added; without `ids`, patterns have the ids before it, in
//! order), and `windows` (how many rows lie together: sums are cut there, so the same cuts give the same bits). Numbers
//! are decimal and exact. Further tensors and metadata are ignored.
//!
//! Every tensor of the table has a checksum in the metadata, `crc32.keys` and so on: the CRC-32 of its bytes (that of
//! zlib and PNG) as eight hexadecimal digits. `crc32.metadata` is that of the lines `name=text` of the metadata named
//! above, in the order above and with the checksums of the tensors last, followed by a line `name dtype N,d` for each
//! tensor of the table; each line ends in a newline. A file with a wrong checksum is not loaded. Version 1, which had
//! no checksums, is not read.
//!
//! [`KeyedMemory::save`](crate::keyed::KeyedMemory::save) adds keys and metadata, which [`Memory::load`] ignores: with
//! keys that are numbers `entry_keys` (N, U64); with texts `entry_keys` (their bytes, U8) and `entry_key_ends` (N, U64:
//! where each ends); with metadata `entry_metadata` and `entry_metadata_ends`, likewise. Their checksums, `key_type`
//! (`u64` or `string`) and `crc32.entries` are further metadata; `docs/FORMATS.md` has them.
//!
//! [`Memory::load`]: crate::Memory::load

mod address;
mod contents;
mod dtype;
mod entries;
mod located;
mod npy;
mod patterns;
mod safetensors;
mod save;
mod saved;
mod saved_entries;
mod saved_rows;
mod source;
mod tensor;
mod write;

pub use address::{Address, AddressError};
pub(crate) use contents::Contents;
pub use dtype::Dtype;
pub use entries::KeyType;
pub(crate) use entries::{EntryColumns, KeyColumn, SavedKeys, Texts};
pub(crate) use patterns::Buffers;
pub use patterns::PatternFiles;
pub(crate) use save::write as write_saved;
pub use saved::SavedMemory;
pub use source::open_regular;
pub use tensor::{Role, Tensor};
pub use write::{NewTensor, check_target, write_tensors, write_whole};
