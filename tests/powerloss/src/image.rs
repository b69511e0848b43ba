//! An image: the files that one power cut left, ready to be opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs, io};

/// How the operations that were not yet durable fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of them reached the disk, as after `kill -9`.
    AllKept,
    /// None did.
    AllDropped,
    /// Those before some moment did, in the order they were issued.
    Prefix,
    /// Each sector, size and directory entry had a fate of its own.
    Torn,
}

/// The directory as a power cut left it. `-shm` files are never part of it:
/// they are memory that happens to have a name.
#[derive(Clone, PartialEq)]
pub struct Image {
    /// The largest mark at or before the cut: appends that must be there.
    pub acknowledged: u64,
    /// How many operations came before the cut.
    pub at: usize,
    /// The seed of this image: `trace.crash_image(at, seed)` makes it again.
    pub seed: u64,
    /// How the operations that were not yet durable fared.
    pub outcome: Outcome,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// The files by name.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Writes the files into `dir`. It must exist and be empty: a WAL left by
    /// an earlier image would be replayed into this one.
    pub fn write_to(&self, dir: &Path) -> io::Result<()> {
        if fs::read_dir(dir)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, format!("{} must be empty to take a crash image", dir.display())));
        }
        self.files.iter().try_for_each(|(name, bytes)| fs::write(dir.join(name), bytes))
    }
}

/// Prints sizes, not bytes, so that a failed assertion stays readable.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: BTreeMap<_, _> = self.files.iter().map(|(name, b)| (name, b.len())).collect();
        f.debug_struct("Image")
            .field("acknowledged", &self.acknowledged)
            .field("at", &self.at)
            .field("seed", &self.seed)
            .field("outcome", &self.outcome)
            .field("sizes", &sizes)
            .finish()
    }
}
