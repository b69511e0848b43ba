//! A vault in a data directory, as a server holds it: with both copies of its log, a root key file, and restores into other directories.

use std::path::PathBuf;
use std::sync::Arc;

use keyledger::credentials::{AnyEvent, Meta};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::seal::Key;
use keyledger::seal::merkle::Frontier;
use keyledger::server::{Home, Restored, Until};
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Outcome, Rotation, Vault, VaultError};
use keyledger::views::{Opener, Snapshot, Views, catch_up};

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;

pub struct HomeBench {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub owner: Principal,
    pub tenant: TenantId,
    /// Where the vault's own beginning ends.
    pub begun: Position,
    running: Option<(Arc<Vault>, keyledger::server::Lock)>,
    token: String,
    /// Which directory is served.
    data: u64,
    seeds: u64,
}

impl HomeBench {
    pub async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at(crate::log_bench::START));
        let nobody = Principal::vault(TenantId::SYSTEM);
        let seeds = seed << 32;
        let mut bench =
            Self { folder, clock, owner: nobody, tenant: TenantId::SYSTEM, begun: Position::ZERO, running: None, token: String::new(), data: 0, seeds };
        let begun = bench.home().init().await.unwrap();
        bench.token = String::from_utf8(begun.owner_token.expose().to_vec()).unwrap();
        bench.start().await;
        bench.owner = bench.vault().authenticate(&bench.token).unwrap();
        bench.tenant = bench.owner.tenant;
        bench.begun = bench.vault().views().position();
        bench
    }

    pub fn vault(&self) -> &Arc<Vault> {
        &self.running.as_ref().unwrap().0
    }

    fn path(&self, name: u64) -> PathBuf {
        self.folder.path().join(format!("data-{name}"))
    }

    fn home(&mut self) -> Home {
        self.seeds += 1;
        Home::new(self.path(self.data), Some(self.folder.path().join("root.key")), self.clock.clone(), Arc::new(FixedRandom::new(self.seeds)))
    }

    async fn start(&mut self) {
        let (vault, lock) = self.home().start().await.unwrap();
        self.running = Some((Arc::new(vault), lock));
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Result<Answer, VaultError> {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault().execute(&command, decide).await
    }

    /// Stops without a farewell and starts again from the files, among them a snapshot or none.
    pub async fn restart(&mut self, from_snapshot: bool) {
        self.vault().forget_snapshot().await.unwrap();
        if from_snapshot {
            let (snapshot, path) = (self.vault().snapshot().await.unwrap(), self.home().snapshot());
            let vault = self.vault();
            snapshot.write(&path, &**vault.log(), vault.keyring().vault(), &self.key(Purpose::Snapshot), &FixedRandom::new(self.seeds)).await.unwrap();
            assert!(Snapshot::read(&path, &**vault.log(), vault.keyring().vault(), &self.key(Purpose::Snapshot)).await.is_ok());
        }
        self.running = None;
        self.start().await;
    }

    pub fn key(&self, purpose: Purpose) -> Key {
        self.vault().keyring().purpose(TenantId::SYSTEM, purpose).unwrap().key
    }

    pub async fn rotate(&mut self, what: Rotation) -> Outcome {
        let root = Arc::new(self.home().key_file(self.vault().keyring().vault()).unwrap());
        let mut told = self.vault().rotate(what, root, &self.owner, Meta::default()).unwrap();
        told.wait_for(Option::is_some).await.unwrap().clone()
    }

    /// The vault as it was at a position, in a directory of its own.
    pub async fn restore(&mut self, until: Position) -> Restored {
        let into = self.path(self.data + 1);
        drop(std::fs::remove_dir_all(&into));
        self.home().restore(Until::Position(until), &into, &|_, _, _| ()).await.unwrap()
    }

    /// Goes on from what was restored last.
    pub async fn move_on(&mut self) {
        self.running = None;
        std::fs::remove_dir_all(self.path(self.data)).unwrap();
        self.data += 1;
        self.start().await;
    }

    pub fn opener(&self) -> Opener {
        Opener::new(Arc::clone(self.vault().keyring()) as Arc<dyn Keyring>)
    }

    /// The log folded anew from zero, through the last whole group at or before `until`.
    pub async fn replay(&self, until: Position) -> Views {
        let (mut views, mut tree, opener) = (Views::default(), Frontier::default(), self.opener());
        opener.learn(&**self.vault().log(), until).await.unwrap();
        catch_up(&mut views, &mut tree, &**self.vault().log(), &opener, until, &|_| ()).await.unwrap();
        views
    }
}
