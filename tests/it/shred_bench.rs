//! A vault in a directory, with what tests of shredding look at: its files, its keys in clear, and the other ways in which its log is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyledger::credentials::connection::Changes;
use keyledger::credentials::{AnyState, Meta};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::seal::merkle::Frontier;
use keyledger::server::{Home, HomeError};
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Confirmed, Given, Target, Vault, VaultError, plans};
use keyledger::views::{Opener, Snapshot, StateHash, Views, catch_up};

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::keyring::FILES;
use crate::vault_bench::{key, tokens};

pub struct ShredBench {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub token: String,
    running: Option<(Arc<Vault>, keyledger::server::Lock)>,
    seeds: u64,
}

/// A connection of a consumer, and what must be nowhere once it was shredded: each of its keys as it is wrapped, and in clear.
pub struct Sealed {
    pub keys: Vec<KeyId>,
    pub bytes: Vec<Vec<u8>>,
}

impl ShredBench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at(crate::log_bench::START));
        let mut bench = Self { folder, clock, token: String::new(), running: None, seeds: 1 };
        let begun = bench.home("data").init().await.unwrap();
        bench.token = String::from_utf8(begun.owner_token.expose().to_vec()).unwrap();
        bench.start().await;
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn home(&mut self, name: &str) -> Home {
        self.seeds += 1;
        Home::new(self.path(name), Some(self.path("root.key")), self.clock.clone(), Arc::new(FixedRandom::new(self.seeds)))
    }

    pub async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub async fn try_start(&mut self) -> Result<(), HomeError> {
        let (vault, lock) = self.home("data").start().await?;
        self.running = Some((Arc::new(vault), lock));
        Ok(())
    }

    /// Stops without a farewell.
    pub fn stop(&mut self) {
        self.running = None;
    }

    pub fn vault(&self) -> &Arc<Vault> {
        &self.running.as_ref().unwrap().0
    }

    pub fn owner(&self) -> Principal {
        self.vault().authenticate(&self.token).unwrap()
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<keyledger::credentials::AnyEvent>, Refusal>) -> Position {
        let owner = self.owner();
        let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
        self.vault().execute(&command, decide).await.unwrap().events.unwrap().1
    }

    /// A consumer's connection with two tokens.
    pub async fn import(&self, consumer: &str) -> StreamId {
        let (owner, key) = (self.owner(), key(consumer, "pipedrive"));
        self.execute(|given| plans::import(given, owner.tenant, &key, tokens(&format!("token of {consumer}")), Changes::default())).await;
        self.vault().views().connection(owner.tenant, &key).unwrap()
    }

    pub async fn delete(&self, consumer: &str) {
        let (owner, key) = (self.owner(), key(consumer, "pipedrive"));
        self.execute(|given| plans::delete_connection(given, owner.tenant, &key)).await;
    }

    pub async fn reveal(&self, stream: StreamId) -> Result<Vec<u8>, VaultError> {
        let shown = self.vault().reveal(&self.owner(), Meta::default(), stream, "access_token", "a test").await?;
        Ok(shown.value.expose().to_vec())
    }

    /// Every key of a thing that lives, as it lies in the files, and in clear.
    pub async fn sealed(&self, stream: StreamId) -> Sealed {
        let (views, log, tenant) = (self.vault().views(), self.vault().log(), self.owner().tenant);
        let entry = views.thing(stream).unwrap();
        let (mut keys, mut at) = (vec![entry.facts_key], entry.last);
        while at > Position::ZERO {
            let record = log.fetch(&[at]).await.unwrap().pop().unwrap();
            keys.extend(record.header().secrets.iter().map(|secret| secret.key));
            at = record.header().previous;
        }
        let wrapped = keys.iter().map(|key| crate::keyring::wrapped(&self.path("data"), *key));
        let clear = keys.iter().map(|key| self.vault().keyring().key(tenant, *key).unwrap().expose().to_vec());
        Sealed { bytes: wrapped.chain(clear).collect(), keys }
    }

    /// The files of the data directory that hold any part of these bytes.
    pub fn files_with(&self, bytes: &[Vec<u8>]) -> Vec<String> {
        let parts = bytes.iter().flat_map(|bytes| bytes.chunks(24).filter(|part| part.len() == 24 || bytes.len() < 24));
        let mut found: Vec<String> = parts.flat_map(|part| crate::keyring::holding(&self.path("data"), part)).collect();
        found.sort();
        found.dedup();
        found
    }

    pub async fn shred(&self, target: &Target, word: &str) -> Result<keyledger::vault::Preview, VaultError> {
        let confirmed = Confirmed::Word(word.into());
        self.vault().apply_shred(&self.owner(), Meta::default(), target, "a test", &confirmed).await
    }

    pub async fn shred_thing(&self, stream: StreamId) {
        self.shred(&Target::Thing(stream), &stream.to_string()).await.unwrap();
    }

    pub async fn write_snapshot(&self) {
        let (vault, path) = (self.vault(), self.path("data/views.snapshot"));
        let key = vault.keyring().purpose(TenantId::SYSTEM, Purpose::Snapshot).unwrap().key;
        let snapshot: Snapshot = vault.snapshot().await.unwrap();
        snapshot.write(&path, &**vault.log(), vault.keyring().vault(), &key, &FixedRandom::new(77)).await.unwrap();
    }

    /// The log folded anew, by another reader of the same files.
    pub async fn replay(&mut self, name: &str, until: Position) -> (Views, Frontier, StateHash) {
        let reading = self.home(name).read().unwrap();
        let opener = Opener::new(reading.keyring.clone());
        opener.learn(&*reading.log, until).await.unwrap();
        let (mut views, mut tree) = (Views::default(), Frontier::default());
        catch_up(&mut views, &mut tree, &*reading.log, &opener, until, &|_| ()).await.unwrap();
        let hash = views.state_hash(&reading.keyring.purpose(TenantId::SYSTEM, Purpose::State).unwrap().key).unwrap();
        (views, tree, hash)
    }

    /// What is live is what a replay gives, and what a start from the log, and one from a snapshot, give.
    pub async fn is_what_its_log_says(&mut self) {
        let live = self.vault().views();
        let (replayed, ..) = self.replay("data", live.position()).await;
        assert!(replayed == *live, "a replay differs");
        self.stop();
        self.start().await;
        assert!(*self.vault().views() == *live, "a start from the log differs");
        self.write_snapshot().await;
        self.stop();
        self.start().await;
        assert!(*self.vault().views() == *live, "a start from a snapshot differs");
    }

    /// Both files of the keyring, to be put back later.
    pub fn keyring_files(&self) -> [Vec<u8>; 2] {
        FILES.map(|file| std::fs::read(self.path("data").join(file)).unwrap())
    }

    pub fn put_back(folder: &Path, files: &[Vec<u8>; 2]) {
        for (file, bytes) in FILES.iter().zip(files) {
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }
}

pub fn is_shredded(views: &Views, stream: StreamId) -> bool {
    views.thing(stream).is_some_and(|entry| matches!(entry.state, AnyState::Shredded(_)))
}

/// All keys are destroyed: not missing, and not there.
pub fn all_destroyed(keyring: &dyn Keyring, tenant: TenantId, keys: &[KeyId]) -> bool {
    keys.iter().all(|key| matches!(keyring.key(tenant, *key), Err(keyledger::keyring::KeyringError::Destroyed(_))))
}
