//! Durable writes: many callers wait at once, and the bare loop then inserts what they wrote in the batches that they formed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyledger::kernel::{Class, Epoch, EventId, Expected, Group, GroupId, Header, KeyId, Moment, Position, StreamId, SystemClock, Version};
use keyledger::log::{EventLog, Index, Sequencer, Submission, Subscriber};
use keyledger::seal::{Draft, Record};
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::bare::Bare;
use crate::table::{compare, real};
use crate::vault::{OpenVault, TENANT};
use crate::witness::{Blocks, Witness};

/// How many callers wait at once.
pub const CALLERS: [u64; 3] = [1, 64, 256];
/// Bytes of an appended event's facts box: about those of an import's facts, sealed.
const FACTS: usize = 350;

/// Nobody looks.
pub struct Nobody;

impl Subscriber for Nobody {
    fn fold(&self, _: &[Record], _: &[Option<Arc<[u8]>>], _: &Index) {}
}

/// What each caller does over and over.
enum Work {
    Append(Sequencer),
    Import(Box<OpenVault>),
}

impl Work {
    async fn once(&self, number: u64) {
        match self {
            Self::Append(sequencer) => drop(sequencer.submit(submission(number)).await.unwrap()),
            Self::Import(vault) => vault.import(number).await,
        }
    }
}

/// One event of a new stream, with a made-up box.
pub fn submission(number: u64) -> Submission {
    let id = u128::from(number).to_be_bytes();
    let mut batch = [0; 12];
    batch[..8].copy_from_slice(&(number / 256).to_be_bytes());
    let header = Header {
        position: Position::ZERO,
        previous: Position::ZERO,
        recorded_at: Moment::default(),
        version: Version::ZERO,
        content_version: Version::ZERO,
        facts_commitment: [3; 32],
        epoch: Epoch { number: 1, id: [1; 16] },
        event: EventId(id),
        tenant: TENANT,
        stream: StreamId(id),
        class: Class::Change,
        kind: "connection".into(),
        event_type: "imported".into(),
        actor: StreamId([2; 16]),
        command: None,
        request: None,
        group: Group { id: GroupId(id), index: 0, count: 1 },
        causation: Position::ZERO,
        claims: Vec::new(),
        facts_key: KeyId { batch, slot: u32::try_from(number % 256).unwrap() },
        secrets: Vec::new(),
        shredded: Vec::new(),
    };
    Submission {
        drafts: vec![Draft { header, facts: vec![5; FACTS], secrets: Vec::new() }],
        expected: vec![Expected::Content(Version::ZERO)],
        opened: vec![Arc::from(&b"{}"[..])],
        guards: Vec::new(),
    }
}

/// One kind of work at one number of callers, and the bare file beside it.
struct Lane {
    what: &'static str,
    callers: u64,
    work: Arc<Work>,
    witness: Arc<Witness>,
    bare: Bare,
    numbers: Arc<AtomicU64>,
    ours_per_second: Vec<f64>,
    bare_per_second: Vec<f64>,
    commands: u64,
    rows: u64,
    blocks: u64,
}

impl Lane {
    async fn new(folder: &Path, import: bool, callers: u64) -> Self {
        let what = if import { "imports through the vault" } else { "appends through the sequencer" };
        let folder = folder.join(format!("{}-{callers}", if import { "imports" } else { "appends" }));
        let (work, witness) = if import {
            let vault = OpenVault::create(&folder).await;
            let witness = vault.witness.clone();
            (Work::Import(Box::new(vault)), witness)
        } else {
            std::fs::create_dir(&folder).unwrap();
            let witness = Witness::open(&folder.join("log.db"));
            let engine: Arc<dyn EventLog> = witness.clone();
            let sequencer = Sequencer::start(engine, Arc::new(SystemClock), Arc::new(Nobody), Index::default()).await.unwrap();
            (Work::Append(sequencer), witness)
        };
        let bare = Bare::create(&folder.join("bare.db"));
        let (work, numbers) = (Arc::new(work), Arc::default());
        Self { what, callers, work, witness, bare, numbers, ours_per_second: vec![], bare_per_second: vec![], commands: 0, rows: 0, blocks: 0 }
    }

    /// All callers write for so long; gives how many commands were answered, the time to the last answer, and the blocks.
    async fn write(&self, round: Duration) -> (u64, Duration, Blocks) {
        let started = Instant::now();
        let callers: Vec<_> = (0..self.callers)
            .map(|_| {
                let (work, numbers) = (Arc::clone(&self.work), Arc::clone(&self.numbers));
                tokio::spawn(async move {
                    let mut answered = 0;
                    while started.elapsed() < round {
                        work.once(numbers.fetch_add(1, Ordering::Relaxed)).await;
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let mut answered = 0;
        for caller in callers {
            answered += caller.await.unwrap();
        }
        (answered, started.elapsed(), self.witness.take())
    }

    /// One turn of each.
    fn turn(&mut self, runtime: &Runtime, round: Duration, counts: bool) {
        let (commands, ours, blocks) = runtime.block_on(self.write(round));
        let bare = self.bare.insert(&blocks);
        if counts {
            self.ours_per_second.push(real(commands) / ours.as_secs_f64());
            self.bare_per_second.push(real(commands) / bare.as_secs_f64());
            self.commands += commands;
            self.blocks += blocks.len() as u64;
            self.rows += blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        }
    }

    fn print(&self) {
        let note = format!("{:.1}, {:.1}", real(self.rows) / real(self.blocks), real(self.rows) / real(self.commands));
        let what = format!("{}, {} waiting", self.what, self.callers);
        compare(&what, &self.ours_per_second, &self.bare_per_second, &note);
    }
}

/// Every lane in turn, round after round.
pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    let kinds = [false, true].into_iter().flat_map(|import| CALLERS.map(|callers| (import, callers)));
    let mut lanes: Vec<Lane> = kinds.map(|(import, callers)| runtime.block_on(Lane::new(folder, import, callers))).collect();
    for lane in &mut lanes {
        lane.turn(runtime, sizes.round / 10, false);
    }
    for _ in 0..sizes.rounds {
        for lane in &mut lanes {
            lane.turn(runtime, sizes.round, true);
        }
    }
    lanes.iter().for_each(Lane::print);
}
