//! The two copies, each read record by record past whatever is damaged in it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::Checkpoint;
use crate::kernel::{Epoch, Position, VaultId};
use crate::log::rows;
use crate::log::segment::{Bad, Footer, Found, Header, Walk, files, title};
use crate::seal::Record;

/// Rows that are read at once.
const ROWS: usize = 512;

/// The rows of `log.db`, as bytes: most are only compared.
pub(super) struct Rows {
    connection: Option<Connection>,
    buffer: VecDeque<(Position, Vec<u8>)>,
    /// Up to here the buffer was asked for.
    read: Position,
    /// The first thing that is wrong with the file.
    pub cause: Option<String>,
    pub present: bool,
    /// The last row that was seen.
    pub last: Position,
}

impl Rows {
    /// Opens a file for reading; nothing on the disk changes. `check` reads all its pages for damage first.
    pub fn open(path: &Path, check: bool) -> Self {
        let mut rows = Self { connection: None, buffer: VecDeque::new(), read: Position::ZERO, cause: None, present: path.exists(), last: Position::ZERO };
        if !rows.present {
            rows.cause = Some("it is missing".into());
            return rows;
        }
        match rows::open(path) {
            Ok(connection) => {
                rows.cause = rows::unsound(&connection, check);
                rows.connection = Some(connection);
            }
            Err(error) => rows.cause = Some(error.to_string()),
        }
        rows
    }

    /// Whether a row stands there.
    pub fn holds(&self, position: Position) -> bool {
        let found = self.connection.as_ref().map(|connection| rows::after(connection, Position(position.0.saturating_sub(1)), 1));
        matches!(found, Some(Ok(rows)) if rows.first().is_some_and(|(found, _)| *found == position))
    }

    /// The first row after a position; `None` at the end, and where the file cannot be read.
    pub fn peek(&mut self, at: Position) -> Option<&(Position, Vec<u8>)> {
        while self.buffer.front().is_some_and(|(position, _)| *position <= at) {
            self.buffer.pop_front();
        }
        if self.buffer.is_empty() {
            self.fill(at.max(self.read));
        }
        if let Some((position, _)) = self.buffer.front() {
            self.last = self.last.max(*position);
        }
        self.buffer.front()
    }

    /// Reads on. Where many rows cannot be read together, the first may be.
    fn fill(&mut self, after: Position) {
        let Some(connection) = &self.connection else { return };
        for count in [ROWS, 1] {
            match rows::after(connection, after, count) {
                Ok(rows) => {
                    self.read = rows.last().map_or(after, |(position, _)| *position);
                    self.buffer.extend(rows);
                    return;
                }
                Err(error) => drop(self.cause.get_or_insert(format!("after position {after}: {error}"))),
            }
        }
    }

    /// Passes over the row in front: it is of no use.
    pub fn drop_front(&mut self, cause: impl FnOnce() -> String) {
        self.buffer.pop_front();
        if self.cause.is_none() {
            self.cause = Some(cause());
        }
    }
}

/// What was seen of a segment file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub path: PathBuf,
    /// The last position before it; `None` when its header cannot be read.
    pub before: Option<Position>,
    /// The last position of it that is whole.
    pub reached: Position,
    /// Bytes up to there.
    pub length: u64,
    /// Where it is not what was written.
    pub bad: Option<Bad>,
    /// Whether it was ever closed: then it may not change any more.
    pub closed: bool,
}

/// The records of the segment files.
pub(super) struct Segments {
    vault: VaultId,
    files: VecDeque<PathBuf>,
    walk: Option<Walk>,
    buffer: VecDeque<Record>,
    /// The header of the file whose first record stands in front.
    pub starts: Option<Header>,
    /// The footer after the records that stand in front, when these are the last of their file.
    pub ends: VecDeque<(usize, Footer)>,
    condemned: Option<Bad>,
    pub parts: Vec<Part>,
    /// What the footers of damaged files claim of the log, and nobody has looked at yet.
    pub claims: Vec<Checkpoint>,
    pub present: bool,
    pub cause: Option<String>,
    pub last: Position,
    /// The first position of the last whole frame.
    pub last_frame: Position,
}

impl Segments {
    /// Of a folder, from the files after the last closed one on (gives its footer and epoch), or all of them.
    pub fn open(folder: &Path, vault: VaultId, tail: bool) -> (Self, Option<(Footer, Epoch)>) {
        let listed = files(folder);
        let cause = listed.as_ref().err().map(ToString::to_string);
        let all = listed.unwrap_or_default();
        let present = !all.is_empty();
        let closed = |path: &PathBuf| {
            let walk = Walk::open(path).ok().filter(|walk| walk.header.vault == vault)?;
            walk.footer().map(|footer| (footer, walk.header.epoch))
        };
        let last = tail.then(|| all.iter().enumerate().rev().find_map(|(place, path)| Some((place, closed(path)?)))).flatten();
        let from = last.as_ref().map_or(0, |(place, _)| place + 1);
        let files = all.into_iter().skip(from).collect();
        let cause = cause.or_else(|| (!present).then(|| "there are none".to_owned()));
        let side = Self {
            vault,
            files,
            walk: None,
            buffer: VecDeque::new(),
            starts: None,
            ends: VecDeque::new(),
            condemned: None,
            parts: Vec::new(),
            claims: Vec::new(),
            present,
            cause,
            last: last.as_ref().map_or(Position::ZERO, |(_, (footer, _))| footer.last),
            last_frame: Position::ZERO,
        };
        (side, last.map(|(_, closed)| closed))
    }

    /// The first record after a position; `None` at the end of the last file.
    pub fn peek(&mut self, at: Position) -> Option<&Record> {
        loop {
            while self.buffer.front().is_some_and(|record| record.header().position <= at) {
                self.buffer.pop_front();
            }
            if !self.buffer.is_empty() {
                return self.buffer.front();
            }
            let Some(walk) = &mut self.walk else {
                let path = self.files.pop_front()?;
                self.begin(&path);
                continue;
            };
            match walk.next() {
                Ok(Found::Frame(_, records)) => {
                    self.last = self.last.max(walk.head);
                    self.last_frame = records.first().map_or(self.last_frame, |first| first.header().position);
                    self.buffer = records.into();
                }
                Ok(Found::Footer(footer)) => {
                    self.ends.push_back((self.parts.len(), *footer));
                    self.end(None, true);
                }
                Ok(Found::End) => self.end(None, false),
                Err(bad) => {
                    // The footer may still tell how far the file went.
                    let footer = walk.footer();
                    self.claims.extend(footer.as_ref().map(|footer| claim(walk, footer)));
                    self.end(Some(bad), footer.is_some());
                }
            }
        }
    }

    fn begin(&mut self, path: &Path) {
        let opened = Walk::open(path).and_then(|walk| {
            let foreign = || Bad { offset: 0, cause: format!("it belongs to vault {}", walk.header.vault) };
            if walk.header.vault == self.vault { Ok(walk) } else { Err(foreign()) }
        });
        match opened {
            Ok(walk) => {
                self.starts = Some(walk.header.clone());
                self.walk = Some(walk);
            }
            Err(bad) => {
                self.blame(path, &bad);
                self.parts.push(Part { path: path.to_owned(), before: None, reached: Position::ZERO, length: 0, bad: Some(bad), closed: is_read_only(path) });
            }
        }
    }

    fn end(&mut self, bad: Option<Bad>, closed: bool) {
        let Some(walk) = self.walk.take() else { return };
        if let Some(bad) = &bad {
            self.blame(&walk.path, bad);
        }
        let (closed, bad) = (closed || is_read_only(&walk.path), bad.or(self.condemned.take()));
        self.parts.push(Part { before: Some(walk.header.before), reached: walk.head, length: walk.at, bad, closed, path: walk.path });
    }

    fn blame(&mut self, path: &Path, bad: &Bad) {
        self.cause.get_or_insert(format!("{} {bad}", title(path)));
    }

    /// The file whose records stand in front does not go on where the one before it ends.
    pub fn misplaced(&mut self, cause: &str) {
        let bad = Bad { offset: 0, cause: cause.to_owned() };
        if let Some(path) = self.walk.as_ref().map(|walk| walk.path.clone()) {
            self.blame(&path, &bad);
        }
        self.condemned = Some(bad);
    }

    /// A footer does not fit the records before it.
    pub fn contradicted(&mut self, part: usize) {
        let bad = Bad { offset: 0, cause: "its footer is not of the records before it".into() };
        let Some(part) = self.parts.get_mut(part) else { return };
        part.bad = Some(bad.clone());
        let path = part.path.clone();
        self.blame(&path, &bad);
    }
}

fn claim(walk: &Walk, footer: &Footer) -> Checkpoint {
    let source = format!("the footer of {}", title(&walk.path));
    Checkpoint { source, epoch: walk.header.epoch.number, history: None, size: footer.tree.size(), root: footer.tree.root(), last: Some(footer.last) }
}

fn is_read_only(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.permissions().readonly())
}
