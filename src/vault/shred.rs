//! Crypto-shredding: an event names keys in its clear header, and then the keys are destroyed in every copy. Single secrets here; things and
//! consumers in `doomed.rs`, tenants in `tenant_end.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::MutexGuard;

use super::access::Principal;
use super::execute::{Answer, Command};
use super::{Vault, VaultError};
use crate::credentials::vault::{Event, SecretAt};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{KeyId, Plan, Position, Refusal, TenantId, Write};
use crate::views::Snapshot;

/// The most secrets of one event.
pub const MAX_SHREDDED: usize = 1024;
/// The longest reason, in bytes.
pub(super) const MAX_REASON: usize = 512;

/// A reason that somebody states.
pub(super) fn stated(reason: &str) -> Result<(), Refusal> {
    let fits = !reason.trim().is_empty() && reason.len() <= MAX_REASON;
    if fits { Ok(()) } else { Err(Refusal::invalid("reason", format!("takes 1 to {MAX_REASON} bytes"))) }
}

impl Vault {
    /// Destroys the keys of these secrets for ever. The event is the commit: when it is durable and the destruction fails or is cut short, the
    /// next start carries it out. Nothing that is kept in memory or in a snapshot holds a secret, so nothing else has to be forgotten. Who may
    /// ask is the caller's matter.
    pub async fn shred(&self, meta: Meta, secrets: &[SecretAt], reason: &str) -> Result<Answer, VaultError> {
        self.shred_secrets(&Principal::vault(TenantId::SYSTEM), meta, secrets, reason).await
    }

    pub(super) async fn shred_secrets(&self, by: &Principal, meta: Meta, secrets: &[SecretAt], reason: &str) -> Result<Answer, VaultError> {
        if secrets.is_empty() || secrets.len() > MAX_SHREDDED {
            return Err(Refusal::Limit { what: "secrets of one shred", limit: MAX_SHREDDED as u64 }.into());
        }
        stated(reason)?;
        let keys = self.keys_of(secrets).await?;
        let event = || Event::Shredded { secrets: secrets.to_vec(), reason: reason.to_owned(), things: Vec::new(), tenants: Vec::new() };
        let answer = self.note_shred(by, Meta { reason: Some(reason.to_owned()), ..meta }, &keys, event, |_| Ok(true)).await?;
        self.keyring.destroy(&keys)?;
        Ok(answer)
    }

    /// Writes that keys die, if that is so still: durable when it returns, and to be followed by their destruction.
    pub(super) async fn note_shred(
        &self,
        by: &Principal,
        meta: Meta,
        keys: &[KeyId],
        event: impl Fn() -> Event,
        stands: impl Fn(&super::Given<'_>) -> Result<bool, Refusal>,
    ) -> Result<Answer, VaultError> {
        // The stream is the system's; the event says who did it.
        let principal = Principal { tenant: TenantId::SYSTEM, ..by.clone() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let decide = |given: &super::Given<'_>| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            if !stands(given)? {
                return Ok(Plan::nothing());
            }
            let mut write = Write::observation(stream, AnyEvent::Vault(event()));
            write.shreds = keys.to_vec();
            Ok(Plan::of(write))
        };
        let answer = self.execute(&command, decide).await?;
        self.backups.shredded();
        Ok(answer)
    }

    /// Destroys what is due: access tokens a day after the end of their life, and what deleted things held after the undo window. Gives how
    /// many secrets went.
    pub async fn shred_due(&self) -> Result<usize, VaultError> {
        let mut gone = 0;
        loop {
            let due: Vec<SecretAt> = {
                let views = self.views();
                let due = views.due(self.clock.now()).take(MAX_SHREDDED);
                due.map(|((_, position, name), _)| SecretAt { position: *position, name: name.clone() }).collect()
            };
            if due.is_empty() {
                return Ok(gone);
            }
            self.shred(Meta { rule: Some("retention".into()), ..Meta::default() }, &due, "retention").await?;
            gone += due.len();
        }
    }

    /// The keys of secrets, from the headers that brought them.
    pub(super) async fn keys_of(&self, secrets: &[SecretAt]) -> Result<Vec<KeyId>, VaultError> {
        let positions: Vec<Position> = secrets.iter().map(|secret| secret.position).collect();
        let records = self.log.fetch(&positions).await?;
        let by_position: BTreeMap<Position, _> = records.iter().map(|record| (record.header().position, record.header())).collect();
        let key = |secret: &SecretAt| {
            let header = by_position.get(&secret.position)?;
            header.secrets.iter().find(|sealed| sealed.name == secret.name).map(|sealed| sealed.key)
        };
        let mut keys = secrets.iter().map(|secret| key(secret).ok_or(Refusal::NotFound)).collect::<Result<Vec<KeyId>, Refusal>>()?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The turn to write a snapshot, and where the latest one lies: nobody shreds meanwhile, so that none is written of what was before.
    pub async fn snapshot_turn(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.kept.lock().await
    }

    /// Destroys keys that an event has named, and removes the snapshot, which holds what they had sealed. What is kept in memory went with the event.
    pub(super) async fn carry_out_shred(&self, keys: &[KeyId]) -> Result<(), VaultError> {
        self.keyring.destroy(keys)?;
        self.forget_snapshot().await
    }

    /// Removes the snapshot, and what an interrupted writer left of one: the next start folds the log.
    pub async fn forget_snapshot(&self) -> Result<(), VaultError> {
        let kept = self.kept.lock().await;
        let Some(path) = &*kept else { return Ok(()) };
        Snapshot::remove(path).map_err(|error| VaultError::Log(crate::log::LogError::Engine(format!("the snapshot was not removed: {error}"))))
    }
}
