//! A vault in a data directory with a clock that the test sets, to be backed up and restored from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::Changes;
use keyledger::kernel::*;
use keyledger::keyring::Purpose;
use keyledger::server::Home;
use keyledger::vault::access::Principal;
use keyledger::vault::{Vault, plans};
use keyledger::views::StateHash;

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::vault_bench::{key, tokens};

pub struct Old {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub token: String,
}

impl Old {
    pub async fn new() -> Self {
        Self::seeded(1).await
    }

    /// Another seed makes another vault.
    pub async fn seeded(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at(crate::log_bench::START));
        let mut old = Self { folder, clock, token: String::new() };
        let begun = old.home("old", seed).init().await.unwrap();
        old.token = String::from_utf8(begun.owner_token.expose().to_vec()).unwrap();
        old
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn home(&self, name: &str, seed: u64) -> Home {
        self.home_at(self.path(name), seed)
    }

    pub fn home_at(&self, folder: PathBuf, seed: u64) -> Home {
        Home::new(folder, Some(self.path("root.key")), self.clock.clone(), Arc::new(FixedRandom::new(seed)))
    }
}

pub async fn import(vault: &Vault, owner: &Principal, consumer: &str, access: &str) -> Position {
    let command = keyledger::vault::Command { principal: owner, meta: Meta::default(), idempotency: None };
    let key = key(consumer, "pipedrive");
    let decide = |given: &keyledger::vault::Given<'_>| plans::import(given, owner.tenant, &key, tokens(access), Changes::default());
    vault.execute(&command, decide).await.unwrap().events.unwrap().1
}

pub fn state(vault: &Vault) -> StateHash {
    vault.views().state_hash(&vault.keyring().purpose(TenantId::SYSTEM, Purpose::State).unwrap().key).unwrap()
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
