//! The stored format: records, their boxes, every key and label, the hash tree and what is signed of it. Pure.

mod bytes;
pub mod checkpoint;
mod chunks;
pub mod derive;
pub mod envelope;
pub mod jwt;
pub mod merkle;
pub mod password;
pub mod proof;
pub mod record;
pub mod webhook;

pub use chunks::{ChunkReader, ChunkWriter};
pub use derive::{Key, WRAPPED, WrapOf};
pub use envelope::{Facts, OpenError, SealError};
pub use record::{Draft, FormatError, Record, Seat};
