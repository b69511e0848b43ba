//! A data directory that is being made: beside its place, out of sight, and moved there only when it is whole.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::home::{HomeError, io};
use crate::kernel::Random;

/// Removed on drop unless it was placed. What a killed process left is removed by the next one that makes the same directory.
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    placed: bool,
    /// Tells others that somebody is at work here.
    _lock: File,
}

impl Partial {
    /// Begins; the target must be absent or empty.
    pub fn begin(target: &Path, random: &dyn Random) -> Result<Self, HomeError> {
        if target.exists() && fs::read_dir(target).map_err(|error| io(target, error))?.next().is_some() {
            return Err(HomeError::Occupied(target.to_owned()));
        }
        let name = target.file_name().map_or_else(|| "keyledger-data".into(), |name| name.to_string_lossy().into_owned());
        let prefix = format!(".{name}.");
        sweep(parent(target), &prefix);
        let path = target.with_file_name(format!("{prefix}{}.partial", base16ct::lower::encode_string(&random.array::<8>())));
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| io(&path, error))?;
        let lock = path.join("lock");
        let file = File::create(&lock).map_err(|error| io(&lock, error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| io(&lock, error.into()))?;
        Ok(Self { path, target: target.to_owned(), placed: false, _lock: file })
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to its place; durable on return.
    pub fn place(mut self) -> Result<(), HomeError> {
        let place = || {
            File::open(&self.path)?.sync_all()?;
            if self.target.exists() {
                fs::remove_dir(&self.target)?;
            }
            fs::rename(&self.path, &self.target)?;
            File::open(parent(&self.target))?.sync_all()
        };
        place().map_err(|error| io(&self.target, error))?;
        self.placed = true;
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

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what killed processes left for the same target: nobody holds its lock any more.
fn sweep(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".partial")).is_some_and(|id| id.len() == 16);
        let abandoned = || File::open(entry.path().join("lock")).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        if ours && abandoned() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
