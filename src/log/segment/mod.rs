//! Segments: the second copy of the log, beside SQLite, in files that only grow and that are never changed once they are closed.
//!
//! ```text
//! name   = epoch number, 10 digits ‖ "-" ‖ first position, 20 digits ‖ ".seg": the order of the names is the order of the log
//! file   = header ‖ frame × n ‖ (footer | zero bytes)          all numbers big-endian; a file without a footer is still open, or was left for a
//!          fresh one, and the zeroes are room that was made ahead: to write over them costs a sync a fraction of what it takes to grow a file
//! header = "keyledger segment 1\n" ‖ vault [16] ‖ epoch number u32 ‖ epoch id [16] ‖ before u64 ‖ first u64 ‖ tree ‖ check
//! frame  = "F" ‖ length u32 ‖ before u64 ‖ count u16 × (length u32 ‖ record) ‖ check          one block: an append is all or none
//! footer = "E" ‖ length u32 ‖ records u64 ‖ last u64 ‖ recorded_at u64 ‖ root [32] ‖ tree ‖ index u32 × (position u64 ‖ offset u64 ‖ recorded_at u64)
//!        ‖ checkpoint u32 × byte ‖ check ‖ offset of "E" u64 ‖ "keyledger closed"
//! tree   = leaves u64 ‖ count u8 × root of a full subtree [32], largest first (RFC 6962)
//! check  = the first 16 bytes of SHA-256("keyledger/v1/segment" ‖ header's check, zeroes in the header ‖ offset u64 of what is checked ‖ its bytes)
//! ```
//! `before` is the last position before the file or frame (0 for none), `first` the first one in it; `length` counts what stands between it and
//! `check`; the tree of a header is that of all records before the file, so that each file chains to the one before; the tree of a footer is that
//! through its end, and so are `last`, `recorded_at` and `root`. `record` is the frame of `src/seal/record.rs`. The index has an entry for the first
//! frame and for each that begins 64 KiB or more after the last entry; its offsets are those of the frames. The checkpoint is a text that was
//! signed with the vault's checkpoint key; here it is opaque.
//!
//! The checksum is a part of SHA-256, not a CRC: the crate is there already, a sync takes hundreds of times as long, and nothing that passes for
//! whole may differ (a CRC of 32 bits lets one in four thousand million pass, and two flips may undo each other). It finds damage, not forgery:
//! that is what the signed checkpoint is for.

mod archive;
mod format;
mod reader;
mod scan;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archive::{chain, last_checkpoint, write_rest};
pub use format::{Bad, Entry, Footer, Header};
pub use reader::SegmentLog;
pub(super) use scan::{Found, Walk};
pub(super) use writer::{SegmentError, Writer, set_aside, sync_folder};

use crate::kernel::{Epoch, Position};

/// The folder of the segments in a data directory.
pub const FOLDER: &str = "segments";
/// A file is closed when it has grown to so many bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;
/// A file is closed when its first record is so old, in seconds.
pub const MAX_AGE: i64 = 3600;
/// The largest frame, in bytes: a block at its limit and room beside it.
pub const MAX_FRAME: usize = 1024 * 1024;
const END: &str = ".seg";

/// Signs the log's size and root in an epoch: what a closed file ends with.
pub type Signer = Arc<dyn Fn(Epoch, u64, &[u8; 32]) -> String + Send + Sync>;

/// The name of a file.
fn name(epoch: u32, first: Position) -> String {
    format!("{epoch:010}-{:020}{END}", first.0)
}

/// The segment files of a folder, in the order of the log; other files are passed over, and a missing folder has none.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_segment = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(END)).is_some_and(|stem| {
            let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
            stem.split_once('-').is_some_and(|(epoch, first)| digits(epoch, 10) && digits(first, 20))
        });
        if is_segment {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a file, for messages.
pub(super) fn title(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
