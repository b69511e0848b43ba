//! Damage: 20,000 flips and cuts over every file of a small vault that died, from one seed. Each is repaired from the other copy, or harmless, or
//! refused with the exact range; never silent, and never a panic. The same without segments is seen to fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyledger::credentials::Meta;
use keyledger::credentials::connection::Changes;
use keyledger::kernel::*;
use keyledger::keyring::Purpose;
use keyledger::log::copies::{self, Checkpoint, Depth, Refusal};
use keyledger::log::{EventLog, Options, Signer, SqliteLog};
use keyledger::seal::{Key, checkpoint};
use keyledger::server::{CHECKPOINT, Home, HomeError};
use keyledger::vault::{Command, Given, plans};
use keyledger::views::Snapshot;

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::log_bench::START;
use crate::vault_bench::{key, tokens};

/// All that is random comes of it.
const SEED: u64 = 20_260_504;
const TRIALS: usize = 20_000;
/// Trials that are carried through a whole start, with its event.
const STARTS: usize = 60;
/// Trials without segments.
const SINGLE: usize = 1_500;

/// Files by their name in the data directory.
type Files = BTreeMap<String, Vec<u8>>;

/// `SplitMix64`: small, and good enough to choose places.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// A vault that was killed: its files, and what they hold.
struct Dead {
    folder: tempfile::TempDir,
    files: Files,
    vault: VaultId,
    checkpoint: Checkpoint,
    public: [u8; 32],
    snapshot: Snapshot,
    snapshot_key: Key,
    clock: Arc<FixedClock>,
    tree: keyledger::seal::merkle::Frontier,
    head: Position,
    signer: Signer,
}

/// In memory where there is such a place: 20,000 vaults are written.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn read_all(folder: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_all(&path, &format!("{name}/"), files);
        } else if !name.ends_with("-shm") {
            files.insert(name, fs::read(path).unwrap());
        }
    }
}

/// Puts the files there; what is closed stays read-only.
fn write_all(folder: &Path, files: &Files) {
    drop(fs::remove_dir_all(folder));
    fs::create_dir_all(folder.join("segments")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

impl Dead {
    /// Some consumers are imported over four hours; half of them lie in the database, the rest in its WAL.
    async fn new() -> Self {
        let folder = scratch();
        let clock = Arc::new(FixedClock::at(START));
        let home = |seed| Home::new(folder.path().join("data"), Some(folder.path().join("root.key")), clock.clone(), Arc::new(FixedRandom::new(seed)));
        let token = String::from_utf8(home(1).init().await.unwrap().owner_token.expose().to_vec()).unwrap();
        let mut dead = None;
        for run in 0..2 {
            let (vault, lock) = home(2 + run).start().await.unwrap();
            let owner = vault.authenticate(&token).unwrap();
            for number in 0..8 {
                clock.pass(900_000);
                let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
                let key = key(&format!("consumer {number}"), "pipedrive");
                let decide = |given: &Given<'_>| plans::import(given, owner.tenant, &key, tokens(&format!("{run} {number}")), Changes::default());
                vault.execute(&command, decide).await.unwrap();
            }
            let purpose = |purpose| vault.keyring().purpose(TenantId::SYSTEM, purpose).unwrap().key;
            let (snapshot, snapshot_key, seed) = (vault.snapshot().await.unwrap(), purpose(Purpose::Snapshot), purpose(Purpose::Checkpoint));
            let id = vault.keyring().vault();
            snapshot.write(&home(9).snapshot(), &**vault.log(), id, &snapshot_key, &FixedRandom::new(9)).await.unwrap();
            let (tree, epoch) = (snapshot.index.tree().clone(), snapshot.index.epoch().unwrap());
            let note = checkpoint::sign(id, epoch, tree.size(), tree.root(), &seed);
            fs::write(folder.path().join("data").join(CHECKPOINT), note).unwrap();
            // While it is open: nothing was moved out of the WAL.
            let mut files = Files::new();
            read_all(&folder.path().join("data"), "", &mut files);
            let checkpoint = Checkpoint { source: "the checkpoint".into(), epoch: 1, history: None, size: tree.size(), root: tree.root(), last: None };
            let public = checkpoint::public_key(&seed);
            let signer: Signer = Arc::new(move |epoch, size, root| checkpoint::sign(id, epoch, size, *root, &seed));
            let head = snapshot.views.position();
            dead = Some((files, id, checkpoint, public, snapshot, snapshot_key, tree, head, signer));
            vault.shutdown().await;
            drop((vault, lock));
        }
        let (files, vault, checkpoint, public, snapshot, snapshot_key, tree, head, signer) = dead.unwrap();
        Self { folder, files, vault, checkpoint, public, snapshot, snapshot_key, clock, tree, head, signer }
    }

    fn segments(&self) -> Vec<&String> {
        self.files.keys().filter(|name| name.starts_with("segments/")).collect()
    }

    /// A file to harm, by the share that each sort has.
    fn choose(&self, chance: &mut Chance) -> String {
        match chance.below(100) {
            0..40 => {
                let segments = self.segments();
                segments[chance.below(segments.len())].clone()
            }
            40..57 => "log.db".into(),
            57..74 => "log.db-wal".into(),
            74..90 => "views.snapshot".into(),
            _ => CHECKPOINT.into(),
        }
    }

    fn is_whole(&self, survey: &copies::Survey) -> bool {
        (survey.head, &survey.tree) == (self.head, &self.tree)
    }
}

/// One flip, a few, a sector that is garbage or zeroes, a cut, or no file at all.
fn harm(bytes: &mut Vec<u8>, chance: &mut Chance) -> String {
    let length = bytes.len();
    let mut flip = |chance: &mut Chance| {
        let (place, bit) = (chance.below(length), chance.below(8));
        bytes[place] ^= 1 << bit;
        format!("bit {bit} of byte {place}")
    };
    match chance.below(10) {
        0..5 => flip(chance),
        5 => (0..=chance.below(8)).map(|_| flip(chance)).collect::<Vec<_>>().join(", "),
        6 | 7 => {
            let (start, zero) = (chance.below(length) / 512 * 512, chance.below(2) == 0);
            for byte in &mut bytes[start..length.min(start + 512)] {
                *byte = if zero { 0 } else { u8::try_from(chance.below(256)).unwrap() };
            }
            format!("the sector at {start}")
        }
        _ => {
            let cut = chance.below(length);
            bytes.truncate(cut);
            format!("cut to {cut} bytes")
        }
    }
}

/// How many trials ended how.
#[derive(Default)]
struct Tally {
    harmless: AtomicUsize,
    levelled: AtomicUsize,
    repaired: AtomicUsize,
    refused: AtomicUsize,
}

/// One trial over a folder of its own; `number` and the seed are all that it depends on.
fn trial(dead: &Dead, folder: &Path, number: usize, tally: &Tally) {
    let mut chance = Chance(SEED ^ (number as u64) << 20);
    let mut files = dead.files.clone();
    let mut harmed = vec![dead.choose(&mut chance)];
    let log_too = harmed[0].starts_with("segments/") && number.is_multiple_of(10);
    harmed.extend(log_too.then(|| "log.db".to_owned()));
    let what: Vec<String> = harmed.iter().map(|name| format!("{name}: {}", harm(files.get_mut(name).unwrap(), &mut chance))).collect();
    let told = format!("trial {number} of seed {SEED}: {}", what.join("; "));
    match harmed[0].as_str() {
        "views.snapshot" => return snapshot_trial(dead, folder, &files, &told, tally),
        CHECKPOINT => {
            let read = String::from_utf8(files[CHECKPOINT].clone()).ok().and_then(|note| checkpoint::verify(&note, &dead.public).ok());
            assert!(read.is_none_or(|read| (read.size, read.root) == (dead.checkpoint.size, dead.checkpoint.root)), "{told}");
            tally.harmless.fetch_add(1, Ordering::Relaxed);
            return;
        }
        _ => {
            // The copies of the log are compared without any key.
            files.retain(|name, _| name.starts_with("log.db") || name.starts_with("segments/"));
            write_all(folder, &files);
        }
    }
    let checkpoints = std::slice::from_ref(&dead.checkpoint);
    let survey = copies::survey(folder, dead.vault, Depth::Whole, checkpoints);
    let counted = match &survey.refusal {
        Some(refusal) => {
            assert!(log_too, "one copy was whole: {told}: {refusal}");
            let spans = match refusal {
                Refusal::Lost(spans) => spans.clone(),
                Refusal::Shortened(span) => vec![span.clone()],
                other => panic!("{told}: {other}"),
            };
            assert!(spans.iter().all(|span| span.from <= span.through && span.through <= dead.head) && survey.tree != dead.tree, "{told}: {refusal}");
            tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        None if survey.is_whole() => {
            assert!(dead.is_whole(&survey), "silent: {told}");
            &tally.harmless
        }
        None => {
            assert!(dead.is_whole(&survey), "silently shorter or other: {told}");
            let repairs = copies::mend(folder, dead.vault, &survey, &dead.signer).unwrap_or_else(|error| panic!("{told}: {error}"));
            let again = copies::survey(folder, dead.vault, Depth::Whole, checkpoints);
            assert!(again.is_whole() && dead.is_whole(&again), "{told}: {repairs:?}: {again:?}");
            let asides = repairs.iter().filter_map(|repair| repair.aside.as_ref()).flat_map(|aside| aside.split(", "));
            assert!(asides.into_iter().all(|aside| folder.join(aside).exists()), "{told}: {repairs:?}");
            if repairs.is_empty() { &tally.levelled } else { &tally.repaired }
        }
    };
    counted.fetch_add(1, Ordering::Relaxed);
}

/// A snapshot is never the truth: it reads as it was, or not at all.
fn snapshot_trial(dead: &Dead, folder: &Path, files: &Files, told: &str, tally: &Tally) {
    let path = folder.with_extension("snapshot");
    fs::write(&path, &files["views.snapshot"]).unwrap();
    let log = SqliteLog::open(&dead.folder.path().join("data/log.db"), Options { read_only: true, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = runtime.block_on(Snapshot::read(&path, &log, dead.vault, &dead.snapshot_key));
    assert!(read.is_err() || read.is_ok_and(|read| read == dead.snapshot), "{told}");
    tally.harmless.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test]
async fn no_damage_is_silent() {
    println!("seed {SEED}");
    let (dead, tally, next) = (Dead::new().await, Tally::default(), AtomicUsize::new(0));
    let folders = scratch();
    std::thread::scope(|scope| {
        for worker in 0..std::thread::available_parallelism().map_or(2, usize::from).min(8) {
            let folder = folders.path().join(worker.to_string());
            let (dead, tally, next) = (&dead, &tally, &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= TRIALS {
                        break;
                    }
                    trial(dead, &folder, number, tally);
                }
            });
        }
    });
    let [harmless, levelled, repaired, refused] =
        [&tally.harmless, &tally.levelled, &tally.repaired, &tally.refused].map(|count| count.load(Ordering::Relaxed));
    println!("harmless {harmless}, levelled {levelled}, repaired {repaired}, refused {refused}");
    assert_eq!(harmless + levelled + repaired + refused, TRIALS);
    assert!(repaired > TRIALS / 4 && refused > 10, "the damage is real: repaired {repaired}, refused {refused}");
}

/// Without segments a flip in the WAL gives a vault that opens cleanly, and whose history is shorter.
#[tokio::test]
async fn without_segments_damage_is_silent() {
    let dead = Dead::new().await;
    let folder = scratch();
    let (mut silent, mut chance) = (0, Chance(SEED));
    for _ in 0..SINGLE {
        let mut files: Files = dead.files.iter().filter(|(name, _)| name.starts_with("log.db")).map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
        let name = if chance.below(2) == 0 { "log.db" } else { "log.db-wal" };
        harm(files.get_mut(name).unwrap(), &mut chance);
        let data = folder.path().join("data");
        write_all(&data, &files);
        let Ok(log) = SqliteLog::open(&data.join("log.db"), Options::default()) else { continue };
        let Ok(records) = log.read(Position::ZERO, usize::MAX >> 1).await else { continue };
        silent += usize::from((records.len() as u64) < dead.tree.size());
    }
    println!("{silent} of {SINGLE} flips and cuts lost a part of the history, and nobody was told");
    assert!(silent > SINGLE / 10, "{silent}");
}

/// The start of a whole vault over damage: what it serves is what there was, and the repair is an event.
#[tokio::test]
async fn a_start_over_damage_repairs_and_says_so() {
    let dead = Dead::new().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let (mut told, mut chance) = (0, Chance(SEED));
    for number in 0..STARTS {
        let mut files = dead.files.clone();
        let name = dead.choose(&mut chance);
        let what = format!("start {number}: {name}: {}", harm(files.get_mut(&name).unwrap(), &mut chance));
        write_all(&data, &files);
        let home = Home::new(data.clone(), Some(dead.folder.path().join("root.key")), dead.clock.clone(), Arc::new(FixedRandom::new(100 + number as u64)));
        // With its snapshot a start folds the tail only, and is asked to compare all; without it all is folded, and must be what the segments hold.
        let whole = number % 2 == 0;
        if !whole && name != "views.snapshot" {
            fs::remove_file(home.snapshot()).unwrap();
        }
        let started = if whole { home.start_after(Depth::Whole).await } else { home.start().await };
        let (vault, lock) = started.unwrap_or_else(|error: HomeError| panic!("{what}: {error}"));
        let records = vault.log().read(Position::ZERO, usize::MAX >> 1).await.unwrap();
        let mut tree = keyledger::seal::merkle::Frontier::default();
        records.iter().filter(|record| record.header().position <= dead.head).for_each(|record| {
            tree.push(record.leaf());
        });
        assert_eq!(tree, dead.tree, "{what}");
        assert!(*vault.views_at(dead.head).await.unwrap().unwrap() == dead.snapshot.views, "{what}");
        told += records.iter().filter(|record| record.header().event_type == "repaired").count();
        vault.shutdown().await;
        drop((vault, lock));
        assert!(!whole || copies::survey(&data, dead.vault, Depth::Whole, &[]).is_whole(), "{what}");
    }
    assert!(told > STARTS / 4, "{told}");
}
