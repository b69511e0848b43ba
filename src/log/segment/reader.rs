//! Reads a folder of segments as a log: every record that it gives was checked. For backups, restores, and where there is no other copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::{Bad, Entry, Found, Header, Walk, files, title};
use crate::kernel::{Moment, Position, VaultId};
use crate::log::{AppendError, BoxFuture, EventLog, LogError};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// One file and the part of it that counts.
struct Part {
    path: PathBuf,
    header: Header,
    last: Position,
    index: Vec<Entry>,
    closed: bool,
}

/// The log in a folder of segments, as it stood when it was opened. It only reads, and a server may write beside it.
pub struct SegmentLog {
    parts: Arc<[Part]>,
    head: watch::Sender<Position>,
}

impl SegmentLog {
    /// Opens a folder. What stands after the last whole frame of the last file is passed over; a gap before that is damage.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let paths = files(folder).map_err(|error| LogError::Engine(error.to_string()))?;
        let (mut parts, count): (Vec<Part>, _) = (Vec::new(), paths.len());
        for (path, place) in paths.iter().zip(1..) {
            let Some(part) = part(path, place == count)? else { continue };
            let before = part.header.before;
            if let Some(earlier) = parts.last_mut() {
                // A fresh file that was begun after a failure supersedes what the one before it holds beyond its own beginning.
                if earlier.last < before || part.header.vault != earlier.header.vault {
                    return Err(damaged(path, earlier.last, "it does not go on where the file before it ends"));
                }
                earlier.last = before;
            } else if before != Position::ZERO {
                return Err(damaged(path, Position::ZERO, "the files before it are missing"));
            }
            parts.push(part);
        }
        let head = parts.last().map_or(Position::ZERO, |part| part.last);
        Ok(Self { parts: parts.into(), head: watch::Sender::new(head) })
    }

    /// Whose log it is; `None` when there are no files.
    #[must_use]
    pub fn vault(&self) -> Option<VaultId> {
        self.parts.first().map(|part| part.header.vault)
    }

    /// The last position that surely stands in the other copy as well: only the last block of an open file may be being written.
    #[must_use]
    pub fn settled(&self) -> Position {
        let Some(part) = self.parts.last() else { return Position::ZERO };
        let last = part.index.iter().rev().find(|entry| entry.position <= part.last);
        if part.closed { part.last } else { last.map_or(part.header.before, |entry| Position(entry.position.0.saturating_sub(1))) }
    }

    /// Each file with the last position of it that counts, in order.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Header, Position)> {
        self.parts.iter().map(|part| (part.path.as_path(), &part.header, part.last))
    }

    /// All records, each checked, and the chain from file to file with them; ends with the first error.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, LogError>> + use<> {
        let (parts, mut tree) = (Arc::clone(&self.parts), Frontier::default());
        let (mut place, mut walk, mut waiting) = (0, None, Vec::new().into_iter());
        let mut failed = false;
        std::iter::from_fn(move || {
            loop {
                let part = parts.get(place).filter(|_| !failed)?;
                if let Some(record) = waiting.next() {
                    let record: Record = record;
                    if record.header().position > part.last {
                        (place, walk, waiting) = (place + 1, None, Vec::new().into_iter());
                        continue;
                    }
                    tree.push(record.leaf());
                    return Some(Ok(record));
                }
                let step = next_frame(part, &mut walk, &tree);
                match step {
                    Ok(Some(records)) => waiting = records.into_iter(),
                    Ok(None) => (place, walk) = (place + 1, None),
                    Err(error) => {
                        failed = true;
                        return Some(Err(error));
                    }
                }
            }
        })
    }
}

/// The next frame of a file that is read from its front; at its beginning and its end the tree must be what the file says.
fn next_frame(part: &Part, walk: &mut Option<Walk>, tree: &Frontier) -> Result<Option<Vec<Record>>, LogError> {
    let named = |bad: Bad| damaged(&part.path, part.header.before, &bad.to_string());
    if walk.is_none() {
        let opened = Walk::open(&part.path).map_err(named)?;
        if opened.header.tree != *tree {
            return Err(damaged(&part.path, part.header.before, "the hash tree before it is another"));
        }
        *walk = Some(opened);
    }
    let Some(open) = walk else { return Ok(None) };
    if open.head >= part.last {
        return match open.footer() {
            Some(footer) if footer.last == part.last && footer.tree != *tree => Err(damaged(&part.path, part.last, "the hash tree at its end is another")),
            _ => Ok(None),
        };
    }
    match open.next().map_err(named)? {
        Found::Frame(_, records) => Ok(Some(records)),
        Found::Footer(_) | Found::End => Err(damaged(&part.path, open.head, "it ends before its last record")),
    }
}

/// A file: by its footer where it has one, otherwise frame by frame. `None` for a last file that holds no whole frame.
fn part(path: &Path, is_last: bool) -> Result<Option<Part>, LogError> {
    let mut walk = match Walk::open(path) {
        Ok(walk) => walk,
        Err(_) if is_last => return Ok(None),
        Err(bad) => return Err(damaged(path, Position::ZERO, &bad.to_string())),
    };
    let (header, path) = (walk.header.clone(), path.to_owned());
    if let Some(footer) = walk.footer() {
        return Ok(Some(Part { path, header, last: footer.last, index: footer.index, closed: true }));
    }
    let mut index = Vec::new();
    while let Ok(Found::Frame(offset, records)) = walk.next() {
        if let Some(first) = records.first().map(Record::header) {
            index.push(Entry { position: first.position, offset, recorded_at: first.recorded_at });
        }
    }
    Ok((walk.head > header.before).then_some(Part { path, last: walk.head, header, index, closed: false }))
}

fn damaged(path: &Path, after: Position, cause: &str) -> LogError {
    LogError::Damaged { position: after.next(), cause: format!("{}: {cause}", title(path)) }
}

/// The records after a position, at most so many.
fn read(parts: &[Part], after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
    let mut found = Vec::new();
    let from = parts.partition_point(|part| part.last <= after);
    for part in parts.get(from..).unwrap_or_default() {
        let walk = Walk::open(&part.path).map_err(|bad| damaged(&part.path, part.header.before, &bad.to_string()))?;
        let entry = part.index.partition_point(|entry| entry.position <= after.next()).saturating_sub(1);
        let (mut at, mut last) = (part.index.get(entry).map_or(walk.at, |entry| entry.offset), part.header.before);
        while last < part.last {
            if found.len() >= limit {
                return Ok(found);
            }
            let (next, records) = walk.frame_at(at).map_err(|bad| damaged(&part.path, last, &bad.to_string()))?;
            last = records.last().map_or(part.last, |record| record.header().position);
            let wanted = records.into_iter().filter(|record| (after.next()..=part.last).contains(&record.header().position));
            found.extend(wanted.take(limit - found.len()));
            at = next;
        }
    }
    Ok(found)
}

fn one(parts: &[Part], position: Position) -> Result<Option<Record>, LogError> {
    let Some(before) = position.0.checked_sub(1) else { return Ok(None) };
    Ok(read(parts, Position(before), 1)?.pop().filter(|record| record.header().position == position))
}

/// Backwards: files and frames are read forwards from the entries of the index.
fn read_back(parts: &[Part], from: Position, limit: usize) -> Result<Vec<Record>, LogError> {
    let mut found: Vec<Record> = Vec::new();
    let mut until = from;
    let starts = parts.iter().flat_map(|part| part.index.iter().filter(|entry| entry.position <= part.last).map(|entry| entry.position));
    let starts: Vec<Position> = starts.collect();
    for start in starts.iter().rev().filter(|start| **start <= from) {
        if found.len() >= limit || until.0 < start.0 {
            break;
        }
        let count = usize::try_from(until.0 - start.0 + 1).unwrap_or(usize::MAX);
        let mut records = read(parts, Position(start.0.saturating_sub(1)), count)?;
        records.retain(|record| record.header().position <= until);
        found.extend(records.into_iter().rev().take(limit - found.len()));
        until = Position(start.0.saturating_sub(1));
    }
    Ok(found)
}

/// The last position recorded before an instant: by the index first, then within its frames.
fn seek(parts: &[Part], instant: Moment) -> Result<Position, LogError> {
    let earlier = |entry: &&Entry| entry.recorded_at < instant;
    let Some(entry) = parts.iter().rev().find_map(|part| part.index.iter().rev().find(earlier)) else {
        return Ok(Position::ZERO);
    };
    let mut found = Position(entry.position.0.saturating_sub(1));
    loop {
        let records = read(parts, found, 256)?;
        let earlier = records.partition_point(|record| record.header().recorded_at < instant);
        found = records.get(..earlier).and_then(<[Record]>::last).map_or(found, |last| last.header().position);
        if earlier < records.len() || records.is_empty() {
            return Ok(found);
        }
    }
}

impl SegmentLog {
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&[Part]) -> Result<T, LogError> + Send + 'static) -> Result<T, LogError> {
        let parts = Arc::clone(&self.parts);
        let task = tokio::task::spawn_blocking(move || work(&parts));
        task.await.map_err(|error| LogError::Engine(error.to_string()))?
    }
}

impl EventLog for SegmentLog {
    fn append(&self, _: Position, _: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Err(AppendError::Refused("the segments are open for reading only".into())) })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.with(move |parts| read(parts, after, limit)))
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        let from = from.min(*self.head.borrow());
        Box::pin(self.with(move |parts| read_back(parts, from, limit)))
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        let at = at.to_vec();
        Box::pin(self.with(move |parts| {
            let found: Result<Vec<Option<Record>>, LogError> = at.iter().map(|position| one(parts, *position)).collect();
            Ok(found?.into_iter().flatten().collect())
        }))
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        Box::pin(self.with(move |parts| seek(parts, instant)))
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
