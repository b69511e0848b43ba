//! The sequencer: takes what waits, checks it, gives seats, appends one block, shows it to the views, answers all.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::block::{Admitted, admit};
use super::queue::{Queue, Waiting, size};
use super::{AppendError, EventLog, Index, LogError, MAX_BLOCK_BYTES, MAX_BLOCK_RECORDS, MAX_QUEUE};
use crate::kernel::{Clock, Expected, Guard, Moment, Position, Refusal};
use crate::seal::{Draft, Record};

/// How many records are read at once to catch up.
const READ: usize = 4096;
/// How often a block of unknown outcome is sent again.
const RETRIES: u32 = 3;
/// How far the wall clock may run ahead of the steady one, in milliseconds.
const MAX_LEAP: i64 = 3_600_000;

/// Sees every record in order, once, before its writer is answered.
pub trait Subscriber: Send + Sync {
    /// Takes the next records; `opened` holds the facts of those whose writer was here, so that they need not be opened again. `index` is
    /// as it stands after the last of them.
    fn fold(&self, records: &[Record], opened: &[Option<Arc<[u8]>>], index: &Index);
}

/// Events to append as one.
pub struct Submission {
    /// Sealed, in order.
    pub drafts: Vec<Draft>,
    /// What each was decided on.
    pub expected: Vec<Expected>,
    /// The facts of each, open.
    pub opened: Vec<Arc<[u8]>>,
    /// Streams that must not have moved.
    pub guards: Vec<Guard>,
}

/// Where a submission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its first event.
    pub first: Position,
    /// Its last event.
    pub last: Position,
    /// Whether it stood there already, under the same command id.
    pub repeated: bool,
}

/// Why a submission does not stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// A rule said no; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many wait; nothing was written.
    #[error("too many writes are waiting (the limit is {MAX_QUEUE})")]
    Busy,
    /// Larger than a block; nothing was written.
    #[error("larger than one block: {what} (the limit is {limit})")]
    TooLarge {
        /// Records or bytes.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The log takes no writes; nothing was written.
    #[error("the log takes no writes: {0}")]
    Unavailable(String),
    /// The log is not what was said of it; nothing is written until an operator has looked.
    #[error("the vault takes no writes: {0}")]
    Lost(String),
    /// It may or may not have been written.
    #[error("it is unknown whether this was written: {0}")]
    Unknown(String),
    /// The wall clock leapt ahead by more than an hour; nothing is written until an operator confirms the time.
    #[error("the clock leapt ahead by more than an hour: confirm the time before writing")]
    ClockLeapt,
}

/// What looks at the index between two blocks.
type Look = Box<dyn FnOnce(&Index) + Send>;

enum Message {
    Submit(Waiting),
    Look(Look),
    ConfirmClock(oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
}

/// A handle to the running sequencer. It ends when the last handle is dropped, or by [`Sequencer::shutdown`].
#[derive(Clone)]
pub struct Sequencer {
    queue: mpsc::Sender<Message>,
    head: watch::Receiver<Position>,
}

impl Sequencer {
    /// Catches up from the engine, showing each record to the subscriber, and then takes submissions.
    pub async fn start(engine: Arc<dyn EventLog>, clock: Arc<dyn Clock>, subscriber: Arc<dyn Subscriber>, from: Index) -> Result<Self, LogError> {
        let (queue, waiting) = mpsc::channel(MAX_QUEUE);
        let (seen, head) = watch::channel(from.head());
        let started = (clock.now(), clock.steady_millis());
        let mut core = Core { engine, clock, subscriber, index: from, started, stopped: None, closing: Vec::new(), seen };
        core.catch_up().await?;
        tokio::spawn(core.run(waiting));
        Ok(Self { queue, head })
    }

    /// Keeps a place in the queue for a submission that is still to come; waits for one when the queue is full.
    pub async fn reserve(&self) -> Result<Place, SubmitError> {
        self.queue.clone().reserve_owned().await.map(Place).map_err(|_| stopped())
    }

    /// Appends all of it or nothing, and answers when it is durable and the subscriber has it.
    pub async fn submit(&self, submission: Submission) -> Result<Appended, SubmitError> {
        let (waiting, result) = checked(submission)?;
        self.queue.try_send(Message::Submit(waiting)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answered(result).await
    }

    /// The last position that the subscriber has, and a wake-up when it grows.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    /// Looks at the index as it stands between two blocks, when the subscriber has all that it holds; `None` when the sequencer has stopped.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Index) -> T + Send + 'static) -> Option<T> {
        let (answer, result) = oneshot::channel();
        let look: Look = Box::new(move |index| drop(answer.send(look(index))));
        self.queue.send(Message::Look(look)).await.ok()?;
        result.await.ok()
    }

    /// The index as it stands between two blocks; `None` when the sequencer has stopped.
    pub async fn index(&self) -> Option<Index> {
        self.look(Index::clone).await
    }

    /// An operator says that the wall clock is right.
    pub async fn confirm_clock(&self) {
        let (answer, result) = oneshot::channel();
        if self.queue.send(Message::ConfirmClock(answer)).await.is_ok() {
            drop(result.await);
        }
    }

    /// Takes nothing more, writes and answers what waits, and ends. Every clone of the handle then answers `Unavailable`.
    pub async fn shutdown(&self) {
        let (answer, result) = oneshot::channel();
        if self.queue.send(Message::Shutdown(answer)).await.is_ok() {
            drop(result.await);
        }
    }
}

/// A place in the queue that nobody else can take. While it is held, a shutdown waits for it.
pub struct Place(mpsc::OwnedPermit<Message>);

impl Place {
    /// As [`Sequencer::submit`], and never refused for want of room.
    pub async fn submit(self, submission: Submission) -> Result<Appended, SubmitError> {
        let (waiting, result) = checked(submission)?;
        self.0.send(Message::Submit(waiting));
        answered(result).await
    }
}

type Outcome = oneshot::Receiver<Result<Appended, SubmitError>>;

/// A submission that can be one block, ready to wait.
fn checked(submission: Submission) -> Result<(Waiting, Outcome), SubmitError> {
    let bytes = size(&submission);
    if submission.drafts.len() > MAX_BLOCK_RECORDS {
        return Err(SubmitError::TooLarge { what: "records", limit: MAX_BLOCK_RECORDS });
    }
    if bytes > MAX_BLOCK_BYTES {
        return Err(SubmitError::TooLarge { what: "bytes", limit: MAX_BLOCK_BYTES });
    }
    if submission.drafts.is_empty() || [submission.expected.len(), submission.opened.len()] != [submission.drafts.len(); 2] {
        return Err(SubmitError::Unavailable("a submission has one expectation and one text of facts per event, and at least one event".into()));
    }
    let (answer, result) = oneshot::channel();
    Ok((Waiting { submission, bytes, answer }, result))
}

async fn answered(result: Outcome) -> Result<Appended, SubmitError> {
    result.await.unwrap_or_else(|_| Err(SubmitError::Unknown("the sequencer has stopped".into())))
}

fn stopped() -> SubmitError {
    SubmitError::Unavailable("the sequencer has stopped".into())
}

struct Core {
    engine: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    subscriber: Arc<dyn Subscriber>,
    index: Index,
    started: (Moment, u64),
    stopped: Option<String>,
    closing: Vec<oneshot::Sender<()>>,
    seen: watch::Sender<Position>,
}

/// A block that is being gathered: its records, and who waits for what.
#[derive(Default)]
struct Block {
    records: Vec<Record>,
    opened: Vec<Option<Arc<[u8]>>>,
    bytes: usize,
    waiting: Vec<(Waiting, Result<Appended, SubmitError>)>,
}

impl Core {
    async fn run(mut self, mut channel: mpsc::Receiver<Message>) {
        let mut queue = Queue::default();
        while let Some(message) = channel.recv().await {
            self.take(message, &mut queue, &mut channel);
            while !queue.is_empty() {
                while !queue.holds_a_block()
                    && let Ok(message) = channel.try_recv()
                {
                    self.take(message, &mut queue, &mut channel);
                }
                self.write_block(&mut queue).await;
            }
        }
        let closing = std::mem::take(&mut self.closing);
        // The engine first: who hears of the end may close it.
        drop(self);
        for answer in closing {
            let _gone = answer.send(());
        }
    }

    fn take(&mut self, message: Message, queue: &mut Queue, channel: &mut mpsc::Receiver<Message>) {
        match message {
            Message::Submit(waiting) => queue.push_back(waiting),
            Message::Look(look) => look(&self.index),
            Message::ConfirmClock(answer) => {
                self.started = (self.clock.now(), self.clock.steady_millis());
                let _gone = answer.send(());
            }
            Message::Shutdown(answer) => {
                // What lies in the channel is still taken; nothing is added to it.
                channel.close();
                self.closing.push(answer);
            }
        }
    }

    /// Gathers one block from the front of the queue, appends it, and answers.
    async fn write_block(&mut self, queue: &mut Queue) {
        let Some(now) = self.may_write(queue) else { return };
        let mut after = self.index.clone();
        let mut block = gather(&mut after, queue, now);
        if block.records.is_empty() {
            return answer_all(block.waiting);
        }
        let records: Arc<[Record]> = std::mem::take(&mut block.records).into();
        match self.append(Arc::clone(&records)).await {
            Ok(()) => {
                self.index = after;
                self.subscriber.fold(&records, &block.opened, &self.index);
                self.seen.send_replace(self.index.head());
                answer_all(block.waiting);
            }
            Err(AppendError::HeadMoved) => self.check_again(block, queue).await,
            // Also those that were refused: their refusal may have rested on what was not written.
            Err(AppendError::Refused(cause)) => fail_all(block.waiting, &SubmitError::Unavailable(cause)),
            Err(AppendError::Unknown(cause)) => {
                self.stopped = Some(cause.clone());
                fail_all(block.waiting, &SubmitError::Unknown(cause));
            }
        }
    }

    /// The time of the next block; otherwise all who wait are told why nothing is written.
    fn may_write(&self, queue: &mut Queue) -> Option<Moment> {
        let now = self.clock.now();
        let steady = i64::try_from(self.clock.steady_millis().saturating_sub(self.started.1)).unwrap_or(i64::MAX);
        let error = match &self.stopped {
            Some(cause) => SubmitError::Unavailable(format!("no writes until restarted, after: {cause}")),
            None if now.millis() - self.started.0.millis() > steady.saturating_add(MAX_LEAP) => SubmitError::ClockLeapt,
            None => return Some(now),
        };
        queue.fail(&error);
        None
    }

    /// Another node wrote: takes its records in, and puts the block's submissions back to the front of the queue.
    async fn check_again(&mut self, block: Block, queue: &mut Queue) {
        let head = self.index.head();
        let moved = self.catch_up().await.map_err(|error| error.to_string());
        let moved =
            moved.and_then(|()| if self.index.head() > head { Ok(()) } else { Err("the engine says that the log moved on, and shows no record".into()) });
        if let Err(cause) = moved {
            self.stopped = Some(cause.clone());
            return fail_all(block.waiting, &SubmitError::Unavailable(cause));
        }
        for (waiting, _) in block.waiting.into_iter().rev() {
            queue.push_front(waiting);
        }
    }

    async fn catch_up(&mut self) -> Result<(), LogError> {
        loop {
            let records = self.engine.read(self.index.head(), READ).await?;
            if records.is_empty() {
                return Ok(());
            }
            for record in &records {
                self.index.fold(record);
            }
            self.subscriber.fold(&records, &vec![None; records.len()], &self.index);
            self.seen.send_replace(self.index.head());
        }
    }

    /// Appends; an unknown outcome is made known by looking at what stands right after the head.
    async fn append(&self, block: Arc<[Record]>) -> Result<(), AppendError> {
        let head = self.index.head();
        let mut cause = match self.engine.append(head, Arc::clone(&block)).await {
            Err(AppendError::Unknown(cause)) => cause,
            known => return known,
        };
        // The first bytes may still appear. So from here on a refusal of the same bytes proves nothing, and a head that moved may have been
        // moved by them: only what stands in the log decides.
        for resend in (0..=RETRIES).rev() {
            match self.engine.read(head, block.len()).await {
                Ok(found) if found == *block => return Ok(()),
                Ok(found) if !found.is_empty() => return Err(AppendError::HeadMoved),
                Ok(_) if resend == 0 => {}
                Ok(_) => match self.engine.append(head, Arc::clone(&block)).await {
                    Ok(()) => return Ok(()),
                    Err(AppendError::HeadMoved) => {}
                    Err(AppendError::Refused(next) | AppendError::Unknown(next)) => cause = next,
                },
                Err(error) => cause = format!("{cause}; then {error}"),
            }
        }
        Err(AppendError::Unknown(cause))
    }
}

/// Takes submissions from the front while they fit. What is refused waits with the block: the refusal may rest on what the block holds.
fn gather(after: &mut Index, queue: &mut Queue, now: Moment) -> Block {
    let mut block = Block::default();
    while let Some(waiting) = queue.pop_fitting(block.records.len(), block.bytes) {
        let result = match admit(after, &waiting.submission, now) {
            Ok(Admitted::Records(records)) => {
                let place = |record: Option<&Record>| record.map_or(Position::ZERO, |record| record.header().position);
                let appended = Appended { first: place(records.first()), last: place(records.last()), repeated: false };
                block.bytes += waiting.bytes;
                block.records.extend(records);
                block.opened.extend(waiting.submission.opened.iter().cloned().map(Some));
                Ok(appended)
            }
            Ok(Admitted::Repeated { first, last }) => Ok(Appended { first, last, repeated: true }),
            Err(error) => Err(error),
        };
        block.waiting.push((waiting, result));
    }
    block
}

fn answer_all(waiting: Vec<(Waiting, Result<Appended, SubmitError>)>) {
    for (waiting, result) in waiting {
        // A caller that went away loses its answer, not its event.
        drop(waiting.answer.send(result));
    }
}

fn fail_all(waiting: Vec<(Waiting, Result<Appended, SubmitError>)>, error: &SubmitError) {
    for (waiting, _) in waiting {
        drop(waiting.answer.send(Err(error.clone())));
    }
}
