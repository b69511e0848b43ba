//! A snapshot on disk: the views and the sequencer's index, sealed, so that a start folds only what came after. It is never the truth: on
//! any mismatch it is dropped and the log is folded.
//!
//! ```text
//! file  = "keyledger snapshot 2\n" ‖ file id [16] ‖ chunks
//! chunk = length u32 ‖ nonce [24] ‖ ciphertext ‖ tag [16]       at most 1 MiB in clear; bound to vault, file id, number, and whether it is the last
//! clear = postcard of about, of the number of things, of each thing, of the number of retired secrets, of each one, of the index;
//!         things and retired secrets with a u32 of their length in front
//! ```

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Due, Entry, Views};
use crate::credentials::FOLD_VERSION;
use crate::kernel::{Epoch, Moment, Position, Random, StreamId, VaultId};
use crate::keyring::erase;
use crate::log::{EventLog, Index, LogError};
use crate::seal::{ChunkReader, ChunkWriter, Key};

const TITLE: &[u8; 21] = b"keyledger snapshot 2\n";
/// The largest thing, in bytes: larger lengths come from damage.
const MAX_ITEM: usize = 64 * 1024 * 1024;

/// Why a snapshot is of no use. None of them is an error of the vault: the log is folded instead.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is none.
    #[error("there is no snapshot")]
    Absent,
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Cut, changed, or sealed by another vault.
    #[error("it does not open")]
    Damaged,
    /// Written by another version of the fold.
    #[error("it is of fold version {0}")]
    FoldVersion(u32),
    /// The log does not hold what it was made of.
    #[error("it is of another log or another history")]
    OtherLog,
    /// The log cannot be asked.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    fold_version: u32,
    epoch: Option<Epoch>,
    position: Position,
    recorded_at: Moment,
    root: [u8; 32],
    /// Of the last record.
    leaf: [u8; 32],
}

/// Views and index at one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The views.
    pub views: Views,
    /// The sequencer's index.
    pub index: Index,
}

impl Snapshot {
    /// Writes it beside its place and moves it there: a reader finds the old one or the new one, whole.
    pub async fn write(&self, path: &Path, log: &dyn EventLog, vault: VaultId, key: &Key, random: &dyn Random) -> Result<(), SnapshotError> {
        let position = self.views.position();
        let records = log.fetch(&[position]).await?;
        let last = records.first().ok_or(SnapshotError::OtherLog)?;
        let about = About {
            fold_version: FOLD_VERSION,
            epoch: self.index.epoch(),
            position,
            recorded_at: self.views.recorded_at(),
            root: self.index.tree().root(),
            leaf: last.leaf(),
        };
        if self.index.head() != position {
            return Err(SnapshotError::OtherLog);
        }
        let partial = path.with_extension("partial");
        let written = self.fill(&partial, about, vault, key, random).and_then(|()| Ok(fs::rename(&partial, path)?));
        if written.is_err() {
            // A full disk: what was begun only takes room.
            drop(fs::remove_file(&partial));
        }
        written
    }

    /// Overwrites and removes it, and what an interrupted writer left beside it.
    pub fn remove(path: &Path) -> std::io::Result<()> {
        for path in [path.to_owned(), path.with_extension("partial")] {
            match erase(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn fill(&self, path: &Path, about: About, vault: VaultId, key: &Key, random: &dyn Random) -> Result<(), SnapshotError> {
        let mut file = BufWriter::new(File::create(path)?);
        let id = random.array::<16>();
        file.write_all(TITLE)?;
        file.write_all(&id)?;
        let mut out = ChunkWriter::new(file, key, vault, id, random);
        put(&mut out, &about)?;
        put_items(&mut out, self.views.things.len(), self.views.things.iter())?;
        put_items(&mut out, self.views.retired.len(), self.views.retired.iter())?;
        put(&mut out, &self.index)?;
        let file = out.finish()?.into_inner().map_err(|error| SnapshotError::Io(error.into_error()))?;
        Ok(file.sync_all()?)
    }

    /// Reads it, and compares it with the log that it must have come from.
    pub async fn read(path: &Path, log: &dyn EventLog, vault: VaultId, key: &Key) -> Result<Self, SnapshotError> {
        let (about, snapshot) = open(path, vault, key)?;
        let records = log.fetch(&[about.position]).await?;
        let same = records.first().is_some_and(|last| last.leaf() == about.leaf && Some(last.header().epoch) == about.epoch && last.header().group.ends());
        let index = &snapshot.index;
        if same && index.head() == about.position && snapshot.views.position() == about.position && index.tree().root() == about.root {
            Ok(snapshot)
        } else {
            Err(SnapshotError::OtherLog)
        }
    }
}

fn open(path: &Path, vault: VaultId, key: &Key) -> Result<(About, Snapshot), SnapshotError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SnapshotError::Absent),
        Err(error) => return Err(error.into()),
    };
    let mut file = BufReader::new(file);
    let (mut title, mut id) = ([0; TITLE.len()], [0; 16]);
    file.read_exact(&mut title).and_then(|()| file.read_exact(&mut id)).map_err(|_| SnapshotError::Damaged)?;
    if title != *TITLE {
        return Err(SnapshotError::Damaged);
    }
    let mut input = ChunkReader::new(file, key, vault, id);
    let about: About = get(&mut input)?;
    if about.fold_version != FOLD_VERSION {
        return Err(SnapshotError::FoldVersion(about.fold_version));
    }
    let mut views = Views { position: about.position, recorded_at: about.recorded_at, ..Views::default() };
    get_items(&mut input, |(id, entry): (StreamId, Arc<Entry>)| {
        views.index(id, &entry);
        views.things.insert(id, entry);
    })?;
    get_items(&mut input, |(due, id): (Due, StreamId)| {
        views.retired.insert(due, id);
    })?;
    let index = get(&mut input)?;
    if input.is_at_end()? { Ok((about, Snapshot { views, index })) } else { Err(SnapshotError::Damaged) }
}

fn put(out: &mut impl Write, value: &impl Serialize) -> Result<(), SnapshotError> {
    postcard::to_io(value, out).map(drop).map_err(|_| SnapshotError::Damaged)
}

/// A value without texts: postcard reads them into a buffer that it never gives back.
fn get<T: for<'de> Deserialize<'de>>(input: &mut impl Read) -> Result<T, SnapshotError> {
    postcard::from_io((input, &mut [])).map(|(value, _)| value).map_err(|_| SnapshotError::Damaged)
}

fn put_items<T: Serialize>(out: &mut impl Write, count: usize, items: impl Iterator<Item = T>) -> Result<(), SnapshotError> {
    put(out, &(count as u64))?;
    for item in items {
        let bytes = postcard::to_stdvec(&item).map_err(|_| SnapshotError::Damaged)?;
        let length = u32::try_from(bytes.len()).map_err(|_| SnapshotError::Damaged)?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn get_items<T: for<'de> Deserialize<'de>>(input: &mut impl Read, mut take: impl FnMut(T)) -> Result<(), SnapshotError> {
    for _ in 0..get::<u64>(input)? {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= MAX_ITEM).ok_or(SnapshotError::Damaged)?;
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        take(postcard::from_bytes(&bytes).map_err(|_| SnapshotError::Damaged)?);
    }
    Ok(())
}
