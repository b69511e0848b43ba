//! Reading secrets. Few may, and the event that says so is durable before the value leaves.

use super::access::{Permission, Principal, Resource, authorize};
use super::execute::Command;
use super::{Vault, VaultError, plans};
use crate::credentials::api_key::{self, Token};
use crate::credentials::connection;
use crate::credentials::{AnyState, Meta, user};
use crate::kernel::{Position, Refusal, Secret, SecretRef, StreamId, TenantId};
use crate::keyring::KeyringError;
use crate::seal::{derive, envelope};

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
    /// Who presents this token; an unknown, mistyped, wrong or expired one is refused alike.
    pub fn authenticate(&self, presented: &str) -> Result<Principal, Refusal> {
        let token = Token::parse(presented).map_err(|_| Refusal::NotFound)?;
        let views = self.views();
        let id = views.token(&token.id).ok_or(Refusal::NotFound)?;
        let entry = views.thing(id).ok_or(Refusal::NotFound)?;
        let AnyState::ApiKey(api_key::State::Live { grant, token: known, .. }) = &entry.state else { return Err(Refusal::NotFound) };
        let hash = derive::token_verifier(&self.token_key.key, &token.id, token.secret.expose());
        let expired = grant.expires_at.is_some_and(|end| end <= self.clock.now());
        if known.verifier.key() != self.token_key.id || !known.verifier.matches(&hash) || expired {
            return Err(Refusal::NotFound);
        }
        let roles = match grant.owner.and_then(|owner| views.thing(owner)).map(|entry| &entry.state) {
            Some(AnyState::User(user::State::Live { profile, .. })) => profile.roles.clone(),
            _ => Vec::new(),
        };
        Ok(Principal { id, tenant: entry.tenant, roles, permissions: grant.permissions.clone(), app_ids: grant.app_ids.clone() })
    }

    /// Shows one secret of a connection, by the name of its box, for a stated reason.
    pub async fn reveal(&self, principal: &Principal, meta: Meta, stream: StreamId, name: &str, reason: &str) -> Result<Revealed, VaultError> {
        if reason.trim().is_empty() || reason.len() > MAX_REASON {
            return Err(Refusal::invalid("reason", format!("takes 1 to {MAX_REASON} bytes")).into());
        }
        let mut shown: Option<SecretRef> = None;
        let rule = self.may_reveal(principal, stream)?;
        let meta = Meta { reason: Some(reason.to_owned()), rule: Some(rule.to_owned()), ..meta };
        let command = Command { principal, meta, idempotency: None };
        let answer = self.execute(&command, |given| {
            let entry = given.views.thing(stream).ok_or(Refusal::NotFound)?;
            let AnyState::Connection(state) = &entry.state else { return Err(Refusal::NotFound) };
            let secret = state.secrets().into_iter().find(|secret| secret.name == name).cloned().ok_or(Refusal::NotFound)?;
            shown = Some(secret.clone());
            plans::on_connection(given, stream, connection::Command::Reveal { secret })
        });
        let answer = answer.await?;
        let secret = shown.ok_or(Refusal::NotFound)?;
        let value = self.open_secret(principal.tenant, &secret).await?;
        Ok(Revealed { value, secret, at: answer.events.map_or(Position::ZERO, |(first, _)| first) })
    }

    fn may_reveal(&self, principal: &Principal, stream: StreamId) -> Result<&'static str, Refusal> {
        let views = self.views();
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        let app = match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => Some(live.key.app.as_str()),
            _ => None,
        };
        authorize(principal, Permission::SecretsReveal, Resource { tenant: entry.tenant, app })
    }

    /// Opens a secret where it lies in the log. Only what records the use may call this: a reveal, and an exchange after its intent.
    pub(crate) async fn open_secret(&self, tenant: TenantId, secret: &SecretRef) -> Result<Secret, VaultError> {
        let records = self.log.fetch(&[secret.position]).await?;
        let record = records.first().ok_or(Refusal::NotFound)?;
        let place = record.header().secrets.iter().position(|sealed| sealed.name == secret.name).ok_or(Refusal::NotFound)?;
        let (sealed, header) = (record.secret(place).ok_or(Refusal::NotFound)?, record.header());
        let id = header.secrets.get(place).ok_or(Refusal::NotFound)?.key;
        let key = match self.keyring.key(tenant, id) {
            Err(KeyringError::Destroyed(_)) => return Err(Refusal::Shredded.into()),
            other => other?,
        };
        let opened = envelope::open_secret(self.keyring.vault(), header, &secret.name, id, &key, sealed);
        opened.map_err(|error| VaultError::Fold(crate::views::FoldError { position: secret.position, cause: error.into() }))
    }
}
