//! A power cut on demand: a SQLite VFS that records every change to the disk,
//! and the images that a cut at any moment could leave behind.
//!
//! ```no_run
//! let recorder = powerloss::Recorder::register("cut");
//! let db = rusqlite::Connection::open_with_flags_and_vfs(
//!     "data/log.db",
//!     rusqlite::OpenFlags::default(),
//!     "cut",
//! );
//! // ... append, and after each acknowledgement:
//! recorder.mark(1);
//! for image in recorder.trace().images(1_000, 42) {
//!     image.write_to("an/empty/directory".as_ref()).unwrap();
//!     // Open it with the ordinary VFS; it must hold `image.acknowledged` appends.
//! }
//! ```
//!
//! # The disk we pretend to have
//!
//! Pessimistic but honest: it breaks everything it did not promise, and keeps
//! what it promised.
//!
//! * **Promised.** What was written to a file before a completed sync of that
//!   file began is durable, and so is the file's own directory entry. A sync
//!   that also syncs the directory (the unix VFS does so on the first sync of
//!   a journal or WAL handle) makes every earlier creation and deletion in the
//!   directory durable, as does a deletion with `sync_dir`.
//! * **Not promised.** Anything else. Each sector touched since may hold the
//!   new bytes, any older bytes, or random ones, whatever its neighbours hold;
//!   the file has any size it had since; an entry that was created or deleted
//!   since is there or not.
//! * **512-byte sectors, no device characteristics.** The reported sector size
//!   is the unit that we tear and garble, so the report is true. 512 rather
//!   than 4096 because a page or WAL frame is then torn inside, in eight or
//!   nine pieces. Characteristics 0 deny atomic writes, ordered writes, safe
//!   append and powersafe overwrite; a garbled sector may therefore lose bytes
//!   that an earlier sync covered, if a later write touches the same sector.
//!   SQLite knows: with `synchronous=FULL` it pads each commit past the sector
//!   boundary. It does not pad again after a recovery that found the padding
//!   lost, so on such a disk a checkpoint must come before the first append
//!   (`tests/sqlite.rs` shows both).
//!
//! Failed writes, full disks and flipped bits of data at rest are not modelled.

mod file;
mod image;
mod pending;
mod recorder;
mod replay;
mod rng;
mod tear;
mod trace;
mod vfs;

pub use image::{Image, Outcome};
pub use recorder::Recorder;
pub use trace::{Op, Trace};

/// The sector size that the VFS reports, and the unit that a power cut tears.
pub const SECTOR: usize = 512;
