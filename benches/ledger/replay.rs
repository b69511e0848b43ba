//! Replay from zero: the one fold of the program, beside a loop that reads and opens the same rows and folds nothing; and the check of the whole
//! log without keys.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger::kernel::Position;
use keyledger::keyring::Keyring;
use keyledger::log::{Audit, EventLog, Options, SqliteLog, Told, audit};
use keyledger::seal::merkle::Frontier;
use keyledger::views::{Opener, Views, catch_up};
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::bare;
use crate::disk::Disk;
use crate::table::{compare, real};
use crate::vault::OpenVault;

/// How many callers fill the log.
const CALLERS: u64 = 64;

#[derive(Default)]
pub struct Replayed {
    ours_per_second: Vec<f64>,
    bare_per_second: Vec<f64>,
    verified_per_second: Vec<f64>,
    read_per_second: Vec<f64>,
    hashed_per_second: Vec<f64>,
    events: u64,
}

impl Replayed {
    pub fn print(&self) {
        compare("read, open, parse, fold, hash | read, open, parse", &self.ours_per_second, &self.bare_per_second, &self.events.to_string());
        compare("verify without keys | read the same bytes", &self.verified_per_second, &self.read_per_second, &self.events.to_string());
        compare("verify without keys | read, hash each record", &self.verified_per_second, &self.hashed_per_second, &self.events.to_string());
    }
}

/// Fills a log: each consumer is imported twice, which leaves four events and one.
async fn fill(vault: Arc<OpenVault>, consumers: u64) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let vault = Arc::clone(&vault);
            tokio::spawn(async move {
                for consumer in (caller..consumers).step_by(usize::try_from(CALLERS).unwrap()) {
                    vault.import(consumer).await;
                    vault.import(consumer).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn fold(vault: &OpenVault) -> (Duration, u64) {
    let (mut views, mut tree) = (Views::default(), Frontier::default());
    // A fresh one: its keys must be unwrapped again, as after a start.
    let opener = Opener::new(vault.keyring.clone() as Arc<dyn Keyring>);
    let started = Instant::now();
    catch_up(&mut views, &mut tree, &*vault.witness, &opener, Position(u64::MAX), &|_| ()).await.unwrap();
    (started.elapsed(), views.position().0)
}

/// Checks the whole log as an auditor does who has its file and the checkpoint.
async fn verify(path: &Path, told: Told) -> (Duration, u64) {
    let started = Instant::now();
    let log = SqliteLog::open(path, Options { read_only: true, ..Options::default() }).unwrap();
    let whole = audit(&log, Audit::against(vec![told]), &|_| ()).await.unwrap().unwrap();
    (started.elapsed(), whole.told)
}

/// Fills a log, folds it in turns with the bare loop, and measures the disk that it takes.
pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) -> (Replayed, Disk) {
    let vault = Arc::new(runtime.block_on(OpenVault::create(&folder.join("replay"))));
    let begun = Disk::before(&vault);
    runtime.block_on(fill(Arc::clone(&vault), sizes.consumers));
    vault.witness.take();
    let path = vault.folder.join("log.db");
    let mut replayed = Replayed::default();
    let mut tree = Frontier::default();
    for record in runtime.block_on(vault.witness.read(Position::ZERO, usize::MAX)).unwrap() {
        tree.push(record.leaf());
    }
    let told = Told { size: tree.size(), root: tree.root(), epoch: None, by: "the bench".into() };
    // The first turn warms the file's pages and does not count.
    for round in 0..=sizes.rounds {
        let (ours, seen) = runtime.block_on(fold(&vault));
        let (bare, read) = bare::read_and_open(&path, vault.keyring.vault(), &*vault.keyring);
        assert_eq!(seen, read, "both saw every event");
        replayed.events = read;
        if round > 0 {
            replayed.ours_per_second.push(real(seen) / ours.as_secs_f64());
            replayed.bare_per_second.push(real(read) / bare.as_secs_f64());
        }
        let (verified, through) = runtime.block_on(verify(&path, told.clone()));
        assert_eq!(through, read, "all of it was compared");
        if round > 0 {
            replayed.verified_per_second.push(real(read) / verified.as_secs_f64());
            replayed.read_per_second.push(real(read) / bare::read(&path, false).0.as_secs_f64());
            replayed.hashed_per_second.push(real(read) / bare::read(&path, true).0.as_secs_f64());
        }
    }
    let disk = runtime.block_on(begun.after(&vault));
    (replayed, disk)
}
