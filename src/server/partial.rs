//! A data directory that is being made: out of sight, and moved to its place only when it is whole.
//!
//! Where there is nothing yet, it is made beside its place and moved there by one rename. A directory that is there already, such as a
//! mounted volume, stays: the vault is made inside it, and its files are moved one by one, the log after the keyring: without a log nothing is a
//! vault. The segments come last, since a log without them gets them at its next start, and what lies there without a log may be all that is left.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::home::{HomeError, io};
use crate::kernel::Random;
use crate::log::copies::LOG;
use crate::log::segment::FOLDER;

/// Of a vault's files, those that are moved before the log.
const BEFORE_THE_LOG: [&str; 2] = ["keyring.db", "keyring-copy.db"];

/// Removed on drop unless it was placed. What a killed process left is removed by the next one that makes the same directory.
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    /// Whether it is made inside its place.
    inside: bool,
    placed: bool,
    /// Tells others that somebody is at work here.
    lock: File,
}

impl Partial {
    /// Begins; the target must be absent or empty.
    pub fn begin(target: &Path, random: &dyn Random) -> Result<Self, HomeError> {
        let (target, inside) = resolved(target).map_err(|error| io(target, error))?;
        let folder = if inside { target.as_path() } else { target.parent().unwrap_or(&target) };
        let name = target.file_name().map_or_else(|| "keyledger-data".into(), |name| name.to_string_lossy().into_owned());
        let prefix = format!(".{name}.");
        let swept = sweep(folder, &prefix);
        if inside {
            if swept && !target.join(LOG).exists() {
                for name in BEFORE_THE_LOG {
                    // What a killed one had moved already.
                    drop(fs::remove_file(target.join(name)));
                }
            }
            let used = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != "lost+found");
            if fs::read_dir(&target).map_err(|error| io(&target, error))?.any(used) {
                return Err(HomeError::Occupied(target));
            }
        }
        let path = folder.join(format!("{prefix}{}.partial", base16ct::lower::encode_string(&random.array::<8>())));
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| io(&path, error))?;
        let lock = path.join("lock");
        let file = File::create(&lock).map_err(|error| io(&lock, error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| io(&lock, error.into()))?;
        Ok(Self { path, target, inside, placed: false, lock: file })
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to its place; durable on return.
    pub fn place(mut self) -> Result<(), HomeError> {
        let place = || {
            File::open(&self.path)?.sync_all()?;
            if self.inside {
                let waits = self.path.join(format!("{LOG}-wal"));
                if fs::metadata(&waits).is_ok_and(|about| about.len() > 0) {
                    return Err(std::io::Error::other("the log is still open: nothing was moved"));
                }
                for name in BEFORE_THE_LOG.into_iter().chain([LOG, FOLDER]) {
                    fs::rename(self.path.join(name), self.target.join(name))?;
                    File::open(&self.target)?.sync_all()?;
                }
                return Ok(());
            }
            fs::rename(&self.path, &self.target)?;
            File::open(self.target.parent().unwrap_or(&self.target))?.sync_all()
        };
        place().map_err(|error| io(&self.target, error))?;
        // By itself, and not only when it is closed: a process that is being started just now holds all that is open for a moment.
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "what was made stays locked until this process ends");
        }
        self.placed = !self.inside;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.placed {
            // What was made is of no use without its end; the error that counts is the one that ended it.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// The target without links and dots, and whether it is there.
fn resolved(target: &Path) -> std::io::Result<(PathBuf, bool)> {
    if fs::symlink_metadata(target).is_ok() {
        return Ok((fs::canonicalize(target)?, true));
    }
    let name = target.file_name().ok_or(std::io::ErrorKind::NotFound)?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    Ok((fs::canonicalize(parent)?.join(name), false))
}

/// Removes what killed processes left for the same target: nobody holds its lock any more. Whether there was any.
pub(super) fn sweep(folder: &Path, prefix: &str) -> bool {
    let mut swept = false;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let whole = name.strip_suffix(".partial").and_then(|rest| rest.rsplit_once('.'));
        let ours = whole.is_some_and(|(named, id)| id.len() == 16 && format!("{named}.").starts_with(prefix));
        let abandoned = || File::open(entry.path().join("lock")).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        if ours && abandoned() {
            drop(fs::remove_dir_all(entry.path()));
            swept = true;
        }
    }
    swept
}
