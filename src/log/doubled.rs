//! The engine over both copies: the commit of SQLite and the frame of the segments are written side by side, and an append is answered when both
//! are durable.
//!
//! When the commit fails, the frame is taken back before *refused* is answered; when that fails too, the outcome is unknown and nothing more is
//! written until a restart. When only the frame fails, the block stands and is answered; then there is one copy, which is said, and no further
//! block is taken until a fresh segment has caught up: the next append tries.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::copies::{self, LOG};
use super::segment::{FOLDER, SegmentError, Signer, Writer};
use super::{AppendError, BoxFuture, EventLog, LogError, MAX_BLOCK_RECORDS, Options, SqliteLog, rows, whole_block};
use crate::kernel::{Moment, Position, VaultId};
use crate::seal::Record;

/// What the thread of the segments is asked; each is answered.
enum Job {
    Append(Position, Arc<[Record]>, oneshot::Sender<Result<(), SegmentError>>),
    CutBack(oneshot::Sender<Result<(), String>>),
    CatchUp(oneshot::Sender<Result<(), String>>),
    Tend(Moment, oneshot::Sender<Result<(), String>>),
}

/// How the copies stand.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Both,
    /// The segments lack what SQLite has.
    One(String),
    /// It is not known what the disk holds.
    Stopped(String),
}

/// The log in SQLite and in segments.
pub struct DoubledLog {
    sqlite: SqliteLog,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    standing: Mutex<Standing>,
    /// One append at a time: both copies see them in one order.
    turn: tokio::sync::Mutex<()>,
    data: PathBuf,
    vault: VaultId,
    scrub: Mutex<Scrub>,
}

/// How far the scrub is.
#[derive(Default)]
struct Scrub {
    last: Option<PathBuf>,
    found: Option<String>,
}

impl DoubledLog {
    /// Opens both copies, which must be level (see [`super::copies`]); makes them where there are none.
    pub fn open(data: &Path, vault: VaultId, signer: Signer) -> Result<Self, LogError> {
        let path = data.join(LOG);
        let sqlite = SqliteLog::open(&path, Options::default())?;
        let writer = Writer::resume(&data.join(FOLDER), vault, signer).map_err(LogError::Engine)?;
        let head = *sqlite.head().borrow();
        if writer.head() != head {
            return Err(LogError::Engine(format!("the copies of the log are not level: {LOG} ends at position {head}, the segments at {}", writer.head())));
        }
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log-segments".into()).spawn(move || run(writer, &path, &waiting));
        let thread = thread.map_err(|error| LogError::Engine(error.to_string()))?;
        Ok(Self {
            sqlite,
            jobs: Some(jobs),
            thread: Some(thread),
            standing: Mutex::new(Standing::Both),
            turn: tokio::sync::Mutex::default(),
            data: data.to_owned(),
            vault,
            scrub: Mutex::default(),
        })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job, ended: impl FnOnce(String) -> T) -> T {
        let (answer, result) = oneshot::channel();
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job(answer)).is_ok());
        let gone = || "the writer of the segments has stopped".to_owned();
        if !sent {
            return ended(gone());
        }
        match result.await {
            Ok(result) => result,
            Err(_) => ended(gone()),
        }
    }

    /// What the scrub of closed files found last, if anything: it is mended when nobody serves the vault.
    pub fn found(&self) -> Option<String> {
        self.scrub.lock().unwrap_or_else(PoisonError::into_inner).found.clone()
    }

    /// Reads one closed file again, beside the appends.
    async fn scrub_next(&self) {
        let last = self.scrub.lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        let (data, vault) = (self.data.clone(), self.vault);
        let look = move || copies::next(&data, last.as_ref()).map(|path| (copies::scrub(&data, vault, &path), path));
        let Ok(Some((result, path))) = tokio::task::spawn_blocking(look).await else { return };
        let mut scrub = self.scrub.lock().unwrap_or_else(PoisonError::into_inner);
        scrub.last = Some(path);
        if let Err(found) = result {
            tracing::error!(found, "the scrub found damage: stop the server, and run `keyledger doctor --repair`");
            scrub.found = Some(found);
        }
    }

    fn stands(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, standing: Standing) {
        match &standing {
            Standing::Both => tracing::info!("the segments have caught up: the log has two copies again"),
            Standing::One(cause) => tracing::error!(cause, "the log has one copy: the segments could not be written"),
            Standing::Stopped(cause) => tracing::error!(cause, "the log takes no writes until restarted"),
        }
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Both copies hold the same before a block is taken.
    async fn levelled(&self) -> Result<(), AppendError> {
        let cause = match self.stands() {
            Standing::Both => return Ok(()),
            Standing::Stopped(cause) => return Err(AppendError::Refused(format!("no writes until restarted, after: {cause}"))),
            Standing::One(cause) => cause,
        };
        match self.ask(Job::CatchUp, Err).await {
            Ok(()) => {
                self.set(Standing::Both);
                Ok(())
            }
            Err(again) => Err(AppendError::Refused(format!("the log has one copy, after: {cause}; a fresh segment could not be written either: {again}"))),
        }
    }

    async fn append_both(&self, head: Position, block: Arc<[Record]>) -> Result<(), AppendError> {
        let _turn = self.turn.lock().await;
        self.levelled().await?;
        let (answer, kept) = oneshot::channel();
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job::Append(head, Arc::clone(&block), answer)).is_ok());
        // The thread of the segments writes while this waits for the commit.
        let committed = self.sqlite.append(head, block).await;
        let kept = match (sent, kept.await) {
            (true, Ok(kept)) => kept,
            _ => Err(SegmentError::Torn("the writer of the segments has stopped".into())),
        };
        match (committed, kept) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) => {
                self.set(Standing::One(error.to_string()));
                Ok(())
            }
            // What stands there is known after a restart: the frame is left, since the commit may stand as well.
            (Err(AppendError::Unknown(cause)), _) => {
                self.set(Standing::Stopped(cause.clone()));
                Err(AppendError::Unknown(cause))
            }
            (Err(error), Ok(())) => match self.ask(Job::CutBack, Err).await {
                Ok(()) => Err(error),
                Err(cut) => Err(self.torn(&error, &cut)),
            },
            (Err(error), Err(SegmentError::HeadMoved(_))) => Err(error),
            (Err(error), Err(SegmentError::Unwritten(cause))) => {
                self.set(Standing::One(cause));
                Err(error)
            }
            (Err(error), Err(SegmentError::Torn(cause))) => Err(self.torn(&error, &cause)),
        }
    }

    /// The commit was refused, and the frame may stay: a restart would bring the block.
    fn torn(&self, error: &AppendError, cut: &str) -> AppendError {
        let cause = format!("{error}; and what the segments hold of it could not be taken back: {cut}");
        self.set(Standing::Stopped(cause.clone()));
        AppendError::Unknown(cause)
    }
}

impl Drop for DoubledLog {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It ends when its queue is empty; a panic in it was answered already.
            drop(thread.join());
        }
    }
}

/// The thread of the segments.
fn run(mut writer: Writer, path: &Path, jobs: &mpsc::Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // Who asked may have gone.
        match job {
            Job::Append(head, block, answer) => drop(answer.send(writer.append(head, &block))),
            Job::CutBack(answer) => drop(answer.send(writer.cut_back().map_err(|error| error.to_string()))),
            Job::CatchUp(answer) => drop(answer.send(catch_up(&mut writer, path))),
            Job::Tend(now, answer) => drop(answer.send(writer.close_due(now).map_err(|error| error.to_string()))),
        }
    }
}

/// Writes what SQLite has and the segments lack into a fresh file.
fn catch_up(writer: &mut Writer, path: &Path) -> Result<(), String> {
    let connection = rows::open(path).map_err(|error| error.to_string())?;
    let last = rows::last(&connection).map_err(|error| error.to_string())?;
    if writer.head() > last {
        // An append that nobody waited for to its end.
        writer.cut_back().map_err(|error| error.to_string())?;
    }
    writer.abandon();
    let mut waiting: Vec<Record> = Vec::new();
    let mut read = writer.head();
    loop {
        let found = rows::after(&connection, read, MAX_BLOCK_RECORDS - waiting.len()).map_err(|error| error.to_string())?;
        for (position, bytes) in found {
            waiting.push(Record::decode(&bytes).map_err(|error| format!("position {position}: {error}"))?);
            read = position;
        }
        let count = whole_block(&waiting);
        if count == 0 {
            let ended = waiting.is_empty() && writer.head() == last;
            return if ended { Ok(()) } else { Err(format!("the segments end at position {}, {LOG} at {last}", writer.head())) };
        }
        let block: Vec<Record> = waiting.drain(..count).collect();
        writer.append(writer.head(), &block).map_err(|error| error.to_string())?;
    }
}

impl EventLog for DoubledLog {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(self.append_both(head, block))
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.sqlite.read(after, limit)
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.sqlite.read_back(from, limit)
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        self.sqlite.fetch(at)
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        self.sqlite.seek(instant)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.sqlite.head()
    }

    fn trouble(&self) -> Option<String> {
        match self.stands() {
            Standing::Both => None,
            Standing::One(cause) => Some(format!("the log has one copy, and no further block is taken until a fresh segment has caught up: {cause}")),
            Standing::Stopped(cause) => Some(format!("no writes until restarted, after: {cause}")),
        }
    }

    fn tend(&self, now: Moment) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            {
                let _turn = self.turn.lock().await;
                if let Err(error) = self.ask(|answer| Job::Tend(now, answer), Err).await {
                    tracing::warn!(error, "a segment that was due could not be closed; the next append tries again");
                }
            }
            self.scrub_next().await;
        })
    }
}
