//! Where checkpoints are kept: the newest one in the data directory, and a file elsewhere that only grows.
//!
//! ```text
//! anchor = {"at": when it was written, "note": the signed note}\n       a line for each; several vaults and epochs may share a file
//! ```

use std::fs::{self, File};
use std::io::{BufRead, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kernel::Moment;
use crate::seal::checkpoint::{Checkpoint, CheckpointError, MAX_NOTE, verify};

/// The longest line: a note, its control characters escaped.
const MAX_LINE: u64 = 2 * MAX_NOTE as u64;

/// Writes the newest checkpoint beside its place, and moves it there when it is on the disk: a reader finds the old one or the new one, whole.
pub fn write_newest(path: &Path, note: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, path)?;
    File::open(folder_of(path))?.sync_all()
}

/// The folder that a path lies in; a bare name lies here.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the newest checkpoint; `None` when there is none yet.
pub fn read_newest(path: &Path) -> std::io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_NOTE as u64 + 1).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// An anchor as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Moment,
    note: String,
}

/// An anchor that was read and whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// When it was written.
    pub at: Moment,
    /// Its line in the file, from 1.
    pub line: u64,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// A line that is no anchor of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the anchor file {cause}")]
pub struct BadAnchor {
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong with it, after "line n of the anchor file".
    pub cause: String,
}

/// A file of anchors.
#[derive(Clone, Debug)]
pub struct AnchorFile(PathBuf);

/// Why a file cannot hold anchors.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// What is rolled back with the log says nothing of it.
    #[error("the anchor file {0} lies in the data directory: whoever rolls that back rolls the anchors back, too; name a file elsewhere")]
    Inside(PathBuf),
    /// The file system.
    #[error("the anchor file {path} cannot be used: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl AnchorFile {
    /// A file that is made when it is missing; not one below the data directory, by whatever path.
    pub fn open(path: &Path, data: &Path) -> Result<Self, AnchorError> {
        let io = |error| AnchorError::Io { path: path.to_owned(), error };
        // The directory may not be there yet: then nothing lies in it.
        let inside = |real: &Path| fs::canonicalize(data).is_ok_and(|data| real.starts_with(data));
        if inside(&fs::canonicalize(folder_of(path)).map_err(io)?) {
            return Err(AnchorError::Inside(path.to_owned()));
        }
        File::options().append(true).create(true).open(path).map_err(io)?;
        let real = fs::canonicalize(path).map_err(io)?;
        if inside(&real) { Err(AnchorError::Inside(path.to_owned())) } else { Ok(Self(real)) }
    }

    /// A file that is only read.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Appends an anchor and presses it onto the disk. A line that a crash cut short is ended first, so that it spoils none but itself.
    pub fn append(&self, at: Moment, note: &str) -> std::io::Result<()> {
        let mut file = File::options().read(true).append(true).create(true).open(&self.0)?;
        let mut line = serde_json::to_vec(&Written { at, note: note.to_owned() })?;
        line.push(b'\n');
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line)?;
        file.sync_data()
    }

    /// All anchors whose notes this key signed, and the lines that are none. A missing file holds none.
    pub fn read(&self, public: &[u8; 32]) -> std::io::Result<(Vec<Anchor>, Vec<BadAnchor>)> {
        let mut file = match File::open(&self.0) {
            Ok(file) => std::io::BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(error),
        };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for line in 1.. {
            let Some(text) = next_line(&mut file)? else { break };
            match read_line(line, &text, public) {
                Ok(anchor) => good.push(anchor),
                Err(cause) => bad.push(BadAnchor { line, cause }),
            }
        }
        Ok((good, bad))
    }
}

/// The next line, its end included, as far as a line may go; the rest of a longer one is the next.
fn next_line(file: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let read = file.take(MAX_LINE).read_until(b'\n', &mut text)?;
    Ok((read > 0).then_some(text))
}

fn read_line(line: u64, text: &[u8], public: &[u8; 32]) -> Result<Anchor, String> {
    let Some(text) = text.strip_suffix(b"\n") else { return Err("was cut short".into()) };
    let Ok(Written { at, note }) = serde_json::from_slice(text) else { return Err("is no anchor".into()) };
    match verify(&note, public) {
        Ok(checkpoint) => Ok(Anchor { at, line, checkpoint }),
        Err(error @ CheckpointError::UnknownKey) => Err(format!("holds a checkpoint of another vault: {error}")),
        Err(error) => Err(format!("holds no checkpoint of this vault: {error}")),
    }
}
