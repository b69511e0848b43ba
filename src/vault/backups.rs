//! What is known of the vault's backups: when the last one was made, whether the last try failed, whether any still holds what was shredded since,
//! and, as an event, which one was verified last. And what wakes those who bring shreds into backups.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::access::Principal;
use super::{Command, Vault, VaultError};
use crate::credentials::{AnyEvent, Meta, vault::Event};
use crate::kernel::{Moment, Plan, Refusal, TenantId, Write};

/// A backup is old when so many of its intervals have passed: one that failed, and the next one that may be under way.
const OLD: i64 = 2;

/// How the backups stand, where they are made by the server.
#[derive(Default)]
pub(super) struct Standing {
    known: Mutex<Option<Known>>,
    /// How many shreds this run has seen.
    shreds: watch::Sender<u64>,
}

struct Known {
    every_seconds: i64,
    /// Since when they are expected.
    since: Moment,
    made_at: Option<Moment>,
    failed: bool,
    /// How many backups hold keys of what was shredded since, because they could not be changed.
    remember: usize,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shred is in the log.
    pub(super) fn shredded(&self) {
        self.shreds.send_modify(|count| *count += 1);
    }
}

impl Vault {
    /// From now on a backup is expected at this interval; `made_at` tells of the newest one that is there.
    pub fn expect_backups(&self, every_seconds: i64, made_at: Option<Moment>) {
        *self.backups.lock() = Some(Known { every_seconds, since: self.now(), made_at, failed: false, remember: 0 });
    }

    /// Tells how the last try ended: when the backup was made, or that there is none.
    pub fn note_backup(&self, made_at: Option<Moment>) {
        if let Some(known) = self.backups.lock().as_mut() {
            known.failed = made_at.is_none();
            known.made_at = made_at.or(known.made_at);
        }
    }

    /// Wakes whoever brings shreds into backups.
    #[must_use]
    pub fn shreds(&self) -> watch::Receiver<u64> {
        self.backups.shreds.subscribe()
    }

    /// Tells how many backups still hold keys of what was shredded since.
    pub fn note_remembering(&self, backups: usize) {
        if let Some(known) = self.backups.lock().as_mut() {
            known.remember = backups;
        }
    }

    /// What is to be said about the backups to whoever watches the server; nothing when all is well, or when the server makes none.
    #[must_use]
    pub fn backup_warnings(&self) -> Vec<&'static str> {
        let (now, verified) = (self.now(), self.views().verified_backup().map(|verified| verified.at));
        let standing = self.backups.lock();
        let Some(known) = standing.as_ref() else { return Vec::new() };
        let is_old = |at: Option<Moment>| at.unwrap_or(known.since).plus_seconds(known.every_seconds.saturating_mul(OLD)) < now;
        let said = [
            (is_old(known.made_at), "the newest backup is old"),
            (is_old(verified), "the last verified backup is old"),
            (known.failed, "the last backup failed; the log of the process says why"),
            (known.remember > 0, "backups still hold keys of what was shredded, and could not be changed; the log of the process says which"),
        ];
        said.into_iter().filter_map(|(holds, text)| holds.then_some(text)).collect()
    }

    /// Records that a restore was rehearsed.
    pub async fn record_verified(&self, proof: impl Fn() -> Event) -> Result<(), VaultError> {
        let principal = Principal::vault(TenantId::SYSTEM);
        let meta = Meta { rule: Some("backup".into()), ..Meta::default() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let done = self.execute(&command, |given| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            Ok(Plan::of(Write::observation(stream, AnyEvent::Vault(proof()))))
        });
        done.await.map(drop)
    }
}
