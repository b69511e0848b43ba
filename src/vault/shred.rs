//! Crypto-shredding of single secrets: an event names their keys in its clear header, and then the keys are destroyed in every copy.

use std::collections::BTreeMap;

use super::access::Principal;
use super::execute::{Answer, Command};
use super::{Vault, VaultError};
use crate::credentials::vault::{Event, SecretAt};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{KeyId, Plan, Position, Refusal, TenantId, Write};

/// The most secrets of one event.
pub const MAX_SHREDDED: usize = 1024;
/// The longest reason, in bytes.
const MAX_REASON: usize = 512;

impl Vault {
    /// Destroys the keys of these secrets for ever. The event is the commit: when it is durable and the destruction fails or is cut short, the
    /// next start carries it out. Nothing that is kept in memory or in a snapshot holds a secret, so nothing else has to be forgotten. Who may
    /// ask is the caller's matter.
    pub async fn shred(&self, meta: Meta, secrets: &[SecretAt], reason: &str) -> Result<Answer, VaultError> {
        if secrets.is_empty() || secrets.len() > MAX_SHREDDED {
            return Err(Refusal::Limit { what: "secrets of one shred", limit: MAX_SHREDDED as u64 }.into());
        }
        if reason.trim().is_empty() || reason.len() > MAX_REASON {
            return Err(Refusal::invalid("reason", format!("takes 1 to {MAX_REASON} bytes")).into());
        }
        let keys = self.keys_of(secrets).await?;
        let principal = Principal::vault(TenantId::SYSTEM);
        let command = Command { principal: &principal, meta: Meta { reason: Some(reason.to_owned()), ..meta }, idempotency: None };
        let decide = |given: &super::Given<'_>| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            let event = AnyEvent::Vault(Event::Shredded { secrets: secrets.to_vec(), reason: reason.to_owned() });
            let mut write = Write::observation(stream, event);
            write.shreds.clone_from(&keys);
            Ok(Plan::of(write))
        };
        let answer = self.execute(&command, decide).await?;
        self.keyring.destroy(&keys)?;
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
    async fn keys_of(&self, secrets: &[SecretAt]) -> Result<Vec<KeyId>, VaultError> {
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
}
