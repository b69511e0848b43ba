//! Reading secrets. Few may, and the event that says so is durable before the value leaves.

use super::access::{Principal, Resource};
use super::execute::{Command, Given};
use super::{Vault, VaultError, plans};
use crate::credentials::{AnyState, Kind, Meta, connection};
use crate::kernel::{Permission, Position, Refusal, Secret, SecretRef, StreamId, TenantId};
use crate::keyring::KeyringError;
use crate::seal::{Record, envelope};
use crate::views::REPLAY;

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 512;

/// A secret that was shown.
pub struct Revealed {
    /// The value.
    pub value: Secret,
    /// Which secret it is.
    pub secret: SecretRef,
    /// Position of the event that says so.
    pub at: Position,
}

impl Vault {
    /// Shows one secret of a credential, by the name of its box, for a stated reason.
    pub async fn reveal(&self, principal: &Principal, meta: Meta, stream: StreamId, name: &str, reason: &str) -> Result<Revealed, VaultError> {
        if reason.trim().is_empty() || reason.len() > MAX_REASON {
            return Err(Refusal::invalid("reason", format!("takes 1 to {MAX_REASON} bytes")).into());
        }
        let meta = Meta { reason: Some(reason.to_owned()), ..meta };
        let wanted = |secret: &SecretRef| secret.name == name;
        let shown = self.shown(principal, meta, stream, Permission::SecretsReveal, wanted).await?;
        Ok(shown.into_iter().next().ok_or(Refusal::NotFound)?)
    }

    /// Shows an API client's secret and OAuth client secret, in this order: its vendor's clients read them with the rest of it. Those of one that
    /// may do more than the caller, or act in more applications, are not shown: the caller would gain that.
    pub async fn reveal_client(&self, principal: &Principal, meta: Meta, stream: StreamId) -> Result<Vec<Revealed>, VaultError> {
        let is_client = self.views().thing(stream).is_some_and(|entry| entry.state.sort() == Some(Kind::ApiClient));
        if !is_client {
            return Err(Refusal::NotFound.into());
        }
        self.shown(principal, meta, stream, Permission::ApiClientsReveal, |_| true).await
    }

    async fn shown(
        &self,
        principal: &Principal,
        meta: Meta,
        stream: StreamId,
        permission: Permission,
        wanted: impl Fn(&SecretRef) -> bool,
    ) -> Result<Vec<Revealed>, VaultError> {
        let views = self.views();
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        let app = match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => Some(live.key.app.as_str()),
            _ => None,
        };
        let rule = self.may(principal, permission, Resource { tenant: entry.tenant, app })?.to_owned();
        if matches!(entry.state, AnyState::Shredded(_)) {
            return Err(Refusal::Shredded.into());
        }
        // Opened before the event is written, which tells of no value that was shredded, and given out after it.
        let (mut opened, mut gone) = (Vec::new(), Vec::new());
        for secret in presented(&entry.state).into_iter().filter(|secret| wanted(secret)) {
            match self.open_secret(principal.tenant, secret).await {
                Ok(value) => opened.push((secret.clone(), value)),
                Err(VaultError::Refused(Refusal::Shredded)) => gone.push(secret.clone()),
                Err(error) => return Err(error),
            }
        }
        let mut shown: Vec<SecretRef> = Vec::new();
        let command = Command { principal, meta: Meta { rule: Some(rule), ..meta }, idempotency: None };
        let answer = self.execute(&command, |given: &Given<'_>| {
            let entry = given.views.thing(stream).ok_or(Refusal::NotFound)?;
            if entry.state.bearer().is_some() {
                plans::outranks(given, principal, entry)?;
            }
            // It counts in all applications.
            if entry.state.sort() == Some(Kind::Integration) {
                plans::give_applications(principal, &[])?;
            }
            shown = presented(&entry.state).into_iter().filter(|secret| wanted(secret)).cloned().collect();
            let plan = plans::note_reveal(given, principal.tenant, stream, &shown)?;
            if shown.iter().any(|secret| gone.contains(secret)) { Err(Refusal::Shredded) } else { Ok(plan) }
        });
        let at = answer.await?.events.map_or(Position::ZERO, |(first, _)| first);
        let mut revealed = Vec::with_capacity(shown.len());
        for secret in shown {
            let place = opened.iter().position(|(of, _)| *of == secret);
            let value = match place.map(|place| opened.swap_remove(place).1) {
                Some(value) => value,
                // Another one took its place meanwhile.
                None => self.open_secret(principal.tenant, &secret).await?,
            };
            revealed.push(Revealed { value, secret, at });
        }
        Ok(revealed)
    }

    /// Opens a secret where it lies in the log. Only what records the use may call this: a reveal, an exchange after its
    /// intent, and the signing of messages, which tell nothing of it.
    pub(crate) async fn open_secret(&self, tenant: TenantId, secret: &SecretRef) -> Result<Secret, VaultError> {
        let records = self.log.fetch(&[secret.position]).await?;
        let record = records.first().ok_or(Refusal::NotFound)?;
        self.open_box(tenant, record, &secret.name)
    }

    fn open_box(&self, tenant: TenantId, record: &Record, name: &str) -> Result<Secret, VaultError> {
        let place = record.header().secrets.iter().position(|sealed| sealed.name == name).ok_or(Refusal::NotFound)?;
        let (sealed, header) = (record.secret(place).ok_or(Refusal::NotFound)?, record.header());
        let id = header.secrets.get(place).ok_or(Refusal::NotFound)?.key;
        let key = match self.keyring.key(tenant, id) {
            Err(KeyringError::Destroyed(_)) => return Err(Refusal::Shredded.into()),
            other => other?,
        };
        let opened = envelope::open_secret(self.keyring.vault(), header, name, id, &key, sealed);
        opened.map_err(|error| VaultError::Fold(crate::views::FoldError { position: header.position, cause: error.into() }))
    }

    /// What a command showed once, for its repeat: the values that its first event keeps for a day.
    pub async fn replayed(&self, tenant: TenantId, first: Position) -> Result<Vec<Secret>, VaultError> {
        let records = self.log.fetch(&[first]).await?;
        let record = records.first().filter(|record| record.header().tenant == tenant).ok_or(Refusal::NotFound)?;
        let lines = self.open_box(tenant, record, REPLAY)?;
        Ok(lines.expose().split(|byte| *byte == b'\n').map(|line| Secret::new(line.to_vec())).collect())
    }
}

/// The secrets that may be shown: of an API client the present ones only.
fn presented(state: &AnyState) -> Vec<&SecretRef> {
    match state {
        AnyState::ApiClient(crate::credentials::api_client::State::Live(live)) => live.present(),
        other => other.secrets(),
    }
}
