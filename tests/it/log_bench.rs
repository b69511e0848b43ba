//! What the log's tests stand on: a sequencer over an engine, drafts with made-up boxes, and a subscriber that remembers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use keyledger::kernel::*;
use keyledger::log::{
    Appended, DoubledLog, EventLog, Index, LogError, MemoryLog, Options, Sequencer, Signer, SqliteLog, Submission, SubmitError, Subscriber, copies,
};
use keyledger::seal::{Draft, Record};

use crate::fixed_clock::FixedClock;

pub const TENANT: TenantId = TenantId([7; 16]);
/// A day in 2026, in milliseconds.
pub const START: i64 = 1_777_903_500_000;

/// Remembers what it was shown.
#[derive(Default)]
pub struct Seen(pub Mutex<Vec<Record>>);

impl Subscriber for Seen {
    fn fold(&self, records: &[Record], opened: &[Option<Arc<[u8]>>], index: &Index) {
        assert_eq!(records.len(), opened.len());
        assert_eq!(records.last().map(|last| last.header().position), Some(index.head()));
        self.0.lock().unwrap().extend_from_slice(records);
    }
}

/// One event to be; the rest is filled in.
#[derive(Clone)]
pub struct Wanted {
    pub stream: u8,
    pub expected: Expected,
    pub class: Class,
    pub claims: Vec<ClaimOp>,
    pub secret: Option<KeyId>,
    pub facts_key: Option<KeyId>,
    pub size: usize,
}

pub fn change(stream: u8, expected: u64) -> Wanted {
    Wanted { stream, expected: Expected::Content(Version(expected)), class: Class::Change, claims: vec![], secret: None, facts_key: None, size: 100 }
}

pub fn observation(stream: u8) -> Wanted {
    Wanted { expected: Expected::Exists, class: Class::Observation, ..change(stream, 0) }
}

pub fn take(name: u8) -> ClaimOp {
    ClaimOp::Take([name; 32])
}

pub fn free(name: u8) -> ClaimOp {
    ClaimOp::Free([name; 32])
}

pub fn key(batch: u8, slot: u32) -> KeyId {
    KeyId { batch: [batch; 12], slot }
}

/// A command id and its request.
pub type CommandOf = Option<(u8, u8)>;

pub fn submission(wanted: &[Wanted], command: CommandOf) -> Submission {
    static EVENTS: AtomicU32 = AtomicU32::new(0);
    let count = u32::try_from(wanted.len()).unwrap();
    let drafts = wanted.iter().zip(0..).map(|(wanted, index)| {
        let first = command.filter(|_| index == 0);
        let mut event = [0; 16];
        event[..4].copy_from_slice(&EVENTS.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let header = Header {
            position: Position::ZERO,
            previous: Position::ZERO,
            recorded_at: Moment::from_millis(0),
            version: Version::ZERO,
            content_version: Version::ZERO,
            facts_commitment: [3; 32],
            epoch: Epoch { number: 1, id: [1; 16] },
            event: EventId(event),
            tenant: TENANT,
            stream: StreamId([wanted.stream; 16]),
            class: wanted.class,
            kind: "consumer".into(),
            event_type: "updated".into(),
            actor: StreamId([0; 16]),
            command: first.map(|(id, _)| [id; 32]),
            request: first.map(|(_, request)| [request; 32]),
            group: Group { id: GroupId([9; 16]), index, count },
            causation: Position::ZERO,
            claims: wanted.claims.clone(),
            facts_key: wanted.facts_key.unwrap_or(key(0xff, u32::from(wanted.stream))),
            secrets: wanted.secret.into_iter().map(|key| SealedSecret { name: "secret".into(), key, fingerprint: Fingerprint([0; 16]) }).collect(),
            shredded: vec![],
        };
        Draft { header, facts: vec![5; wanted.size], secrets: wanted.secret.into_iter().map(|_| vec![6; 108]).collect() }
    });
    Submission {
        drafts: drafts.collect(),
        expected: wanted.iter().map(|wanted| wanted.expected).collect(),
        opened: wanted.iter().map(|_| Arc::from(&b"{}"[..])).collect(),
        guards: vec![],
    }
}

/// Whose log the doubled engine keeps.
pub const VAULT: VaultId = VaultId(*b"vault-of-the-log");

/// A checkpoint that anybody can make: what a signature is, others test.
pub fn signer() -> Signer {
    Arc::new(|epoch, size, root| format!("{}/{size}/{}", epoch.number, crate::fixed::hex(root)))
}

/// Both copies, mended.
pub fn doubled(folder: &Path) -> Result<DoubledLog, LogError> {
    copies::open(folder, VAULT, &signer(), &[]).map(|(log, _)| log)
}

/// An engine under test, and how to open it again.
pub struct Bench {
    pub engine: Arc<dyn EventLog>,
    pub clock: Arc<FixedClock>,
    pub seen: Arc<Seen>,
    pub sequencer: Sequencer,
    folder: Option<(tempfile::TempDir, PathBuf)>,
    reopen: fn(&Path) -> Arc<dyn EventLog>,
}

fn open_sqlite(path: &Path) -> Arc<dyn EventLog> {
    Arc::new(SqliteLog::open(path, Options::default()).unwrap())
}

fn open_doubled(path: &Path) -> Arc<dyn EventLog> {
    Arc::new(doubled(path.parent().unwrap()).unwrap())
}

impl Bench {
    pub async fn memory() -> Self {
        Self::over(Arc::new(MemoryLog::default()), None).await
    }

    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        Self::over(open_sqlite(&path), Some((folder, path))).await
    }

    pub async fn doubled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let bench = Self::over(open_doubled(&path), Some((folder, path))).await;
        Self { reopen: open_doubled, ..bench }
    }

    pub async fn over(engine: Arc<dyn EventLog>, folder: Option<(tempfile::TempDir, PathBuf)>) -> Self {
        let (clock, seen) = (Arc::new(FixedClock::at(START)), Arc::new(Seen::default()));
        let sequencer = Sequencer::start(engine.clone(), clock.clone(), seen.clone(), Index::default()).await.unwrap();
        Self { engine, clock, seen, sequencer, folder, reopen: open_sqlite }
    }

    /// A second node over the same engine.
    pub async fn second(&self) -> Sequencer {
        Sequencer::start(self.engine.clone(), self.clock.clone(), Arc::new(Seen::default()), Index::default()).await.unwrap()
    }

    /// Closes everything and opens the file again.
    pub async fn reopen(self) -> Self {
        let Self { engine, seen, sequencer, folder, clock, reopen } = self;
        drop(sequencer);
        while Arc::strong_count(&engine) > 1 {
            tokio::task::yield_now().await;
        }
        drop((engine, seen));
        let (folder, path) = folder.expect("only engines with a file are reopened");
        let bench = Self::over(reopen(&path), Some((folder, path))).await;
        Self { clock, reopen, ..bench }
    }

    pub fn submit(&self, wanted: &[Wanted]) -> impl Future<Output = Result<Appended, SubmitError>> + use<> {
        self.send(submission(wanted, None))
    }

    pub fn command(&self, wanted: &[Wanted], id: u8, request: u8) -> impl Future<Output = Result<Appended, SubmitError>> + use<> {
        self.send(submission(wanted, Some((id, request))))
    }

    fn send(&self, submission: Submission) -> impl Future<Output = Result<Appended, SubmitError>> + use<> {
        let sequencer = self.sequencer.clone();
        async move { sequencer.submit(submission).await }
    }

    pub async fn records(&self) -> Vec<Record> {
        self.engine.read(Position::ZERO, usize::MAX >> 1).await.unwrap()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with an answer")]
pub fn at(first: u64, last: u64) -> Result<Appended, SubmitError> {
    Ok(Appended { first: Position(first), last: Position(last), repeated: false })
}

pub fn conflict(actual: u64) -> Result<Appended, SubmitError> {
    Err(SubmitError::Refused(Refusal::Conflict { actual: Version(actual) }))
}

pub fn taken(by: u8) -> Result<Appended, SubmitError> {
    Err(SubmitError::Refused(Refusal::NameTaken { by: StreamId([by; 16]) }))
}
