//! The trace: what the VFS did to the disk, in order, and its crash images.

use std::sync::Arc;

use crate::image::Image;
use crate::replay::Replay;
use crate::rng::Rng;

/// One recorded operation. Files go by their name inside the one directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A file that existed before the recording.
    Found {
        /// Its name.
        file: Arc<str>,
        /// Its content then, which counts as durable.
        bytes: Arc<[u8]>,
    },
    /// An open created a file, empty.
    Create {
        /// Its name.
        file: Arc<str>,
    },
    /// Bytes were written.
    Write {
        /// The file's name.
        file: Arc<str>,
        /// Where the first byte went.
        offset: u64,
        /// What was written.
        bytes: Arc<[u8]>,
    },
    /// The file's length was set.
    Truncate {
        /// The file's name.
        file: Arc<str>,
        /// Its new length.
        len: u64,
    },
    /// A sync of the file completed here.
    Sync {
        /// The file's name.
        file: Arc<str>,
        /// The sync began before the operation of this index, and covers only
        /// those before: other threads may have written meanwhile.
        covers: usize,
        /// Whether the directory was synced too.
        directory: bool,
    },
    /// A file was deleted.
    Delete {
        /// Its name.
        file: Arc<str>,
        /// Whether the directory was synced after it.
        sync_dir: bool,
    },
    /// The test says: by now this many appends have been acknowledged.
    Mark(u64),
}

/// A finished recording, independent of the recorder that made it.
#[derive(Clone, Debug)]
pub struct Trace {
    ops: Vec<Op>,
}

impl Trace {
    /// A trace from operations, for tests that write one by hand.
    pub fn new(ops: Vec<Op>) -> Self {
        Self { ops }
    }

    /// The recorded operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// What a power cut after the first `at` operations could leave; the seed
    /// chooses among the possibilities. `at` beyond the end means the end.
    pub fn crash_image(&self, at: usize, rng_seed: u64) -> Image {
        let mut replay = Replay::new(&self.ops);
        replay.advance_to(at);
        replay.image(rng_seed)
    }

    /// `count` images of cuts spread over the whole trace, in ascending order
    /// of the cut, so that one pass over the trace serves them all. Each
    /// equals `crash_image(image.at, image.seed)`.
    pub fn images(&self, count: usize, seed: u64) -> impl Iterator<Item = Image> + '_ {
        let mut rng = Rng::new(seed);
        let mut cuts: Vec<(usize, u64)> = (0..count).map(|_| (rng.below(self.ops.len() + 1), rng.next())).collect();
        cuts.sort_unstable();
        let mut replay = Replay::new(&self.ops);
        cuts.into_iter().map(move |(at, seed)| {
            replay.advance_to(at);
            replay.image(seed)
        })
    }
}
