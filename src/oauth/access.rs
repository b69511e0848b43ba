//! Credentials for a call that is passed through: opened, and renewed first when their end is near or the service has refused them.

use std::sync::Arc;

use super::call::{Opened, found};
use super::exchange::{Exchanges, HELD, Landed, Since, Wanted, What};
use crate::credentials::connection::{Access, Connection, Failure, Phase};
use crate::credentials::connector::{AuthType, Connector};
use crate::kernel::{Moment, Refusal, Secret, SecretRef};
use crate::vault::VaultError;

/// A token whose end is nearer than this is renewed before it is used, in seconds; of a token that lives shorter, a quarter of its life.
const NEAR: i64 = 30;
/// After a renewal that failed, a caller starts no other one for so many seconds.
const COOLDOWN: i64 = 30;

/// Credentials to call a service with.
pub struct Usable {
    /// Values by setting; of the secrets those that the service is called with.
    pub settings: Opened,
    /// The access token, if the service speaks OAuth.
    pub access: Option<(SecretRef, Secret)>,
}

/// Why there are no credentials.
#[derive(Clone, Debug)]
pub enum NoCredentials {
    /// The vault said no, or failed.
    Vault(Arc<VaultError>),
    /// The token has ended, or was refused, and could not be renewed.
    NotRenewed {
        /// Why, in words that hold no secret.
        cause: String,
        /// When the vault tries again by itself, from now, in milliseconds.
        retry_after_ms: Option<i64>,
        /// How long a caller starts no other renewal, in milliseconds.
        cooldown_remaining_ms: i64,
    },
}

impl From<VaultError> for NoCredentials {
    fn from(error: VaultError) -> Self {
        Self::Vault(Arc::new(error))
    }
}

impl From<Refusal> for NoCredentials {
    fn from(refusal: Refusal) -> Self {
        VaultError::from(refusal).into()
    }
}

impl Exchanges {
    /// Credentials of a connection. `refused` is the access token that the service has just refused: another one is needed.
    pub async fn credentials(self: &Arc<Self>, wanted: &Wanted, refused: Option<&SecretRef>) -> Result<Usable, NoCredentials> {
        let views = self.vault.views();
        let now = self.vault.time(&views);
        if views.is_held() {
            return Err(Refusal::InvalidState(HELD.into()).into());
        }
        let (_, live, connector) = found(&views, wanted.connection).ok_or(Refusal::NotFound)?;
        callable(live, views.standing(wanted.principal.tenant, connector, live))?;
        if connector.auth_type != AuthType::Oauth2 {
            let settings = self.settings_for(&views, wanted.principal.tenant, live, connector, &|id| is_called_with(connector, id)).await?;
            return Ok(Usable { settings, access: None });
        }
        let good = live.access.as_ref().filter(|access| refused != Some(&access.secret));
        if good.is_none_or(|access| is_near(access, now)) {
            self.renew(wanted, live, good, now).await?;
        }
        let views = self.vault.views();
        let (tenant, live, connector) = found(&views, wanted.connection).ok_or(Refusal::NotFound)?;
        let access = live.access.as_ref().ok_or_else(|| Refusal::InvalidState("it has no access token".into()))?;
        let value = self.vault.open_secret(tenant, &access.secret).await?;
        let settings = self.settings_for(&views, tenant, live, connector, &|id| is_called_with(connector, id)).await?;
        Ok(Usable { settings, access: Some((access.secret.clone(), value)) })
    }

    /// Renews, unless that cannot be or has just failed; a token that has not ended serves on meanwhile.
    async fn renew(self: &Arc<Self>, wanted: &Wanted, live: &Connection, good: Option<&Access>, now: Moment) -> Result<(), NoCredentials> {
        let serves = good.is_some_and(|access| access.expires_at.is_none_or(|end| end > now));
        let renewable = live.refresh.is_some() || live.begins_anew();
        let cooling = live.failure.as_ref().filter(|failure| cooled(failure) > now);
        let since = Since { access: live.access.as_ref().map(|access| access.secret.position), failed: live.failure.as_ref().map(|failure| failure.at) };
        let cause = match cooling {
            Some(failure) => failure.cause.clone(),
            None if !renewable => "the access token has ended or was refused, and there is no refresh token".into(),
            None => match self.exchange(Wanted { what: What::RenewSince(since), idempotency: None, ..wanted.clone() }).await {
                Landed::Stored { .. } => return Ok(()),
                Landed::Failed { cause, .. } => cause,
                Landed::Vault(error) => return if serves { Ok(()) } else { Err(NoCredentials::Vault(error)) },
            },
        };
        if serves { Ok(()) } else { Err(self.not_renewed(wanted, cause)) }
    }

    fn not_renewed(&self, wanted: &Wanted, cause: String) -> NoCredentials {
        let views = self.vault.views();
        let now = self.vault.time(&views);
        let from_now = |at: Moment| (at.millis() - now.millis()).max(0);
        let live = found(&views, wanted.connection).map(|(_, live, _)| live);
        let next = live.and_then(|live| crate::credentials::connection::due(wanted.connection, live)).map(|(at, _)| from_now(at));
        let failure: Option<&Failure> = live.and_then(|live| live.failure.as_deref());
        let cooldown = failure.map_or(0, |failure| from_now(cooled(failure)));
        NoCredentials::NotRenewed { cause, retry_after_ms: next, cooldown_remaining_ms: cooldown }
    }
}

/// When a caller may start another renewal: after a while, and not before the service wants it.
fn cooled(failure: &Failure) -> Moment {
    let while_over = failure.at.plus_seconds(COOLDOWN);
    failure.retry_at.map_or(while_over, |asked| asked.max(while_over))
}

/// That a connection which stands so may be called for.
fn callable(live: &Connection, phase: Phase) -> Result<(), Refusal> {
    if !live.enabled {
        return Err(Refusal::InvalidState("the connection is disabled".into()));
    }
    if live.is_denied() {
        return Err(Refusal::InvalidState("its user has not consented, or has taken the consent back".into()));
    }
    match phase {
        Phase::Callable | Phase::Invalid => Ok(()),
        Phase::Added => Err(Refusal::InvalidState("the connection has no credentials yet".into())),
        Phase::Authorized => Err(Refusal::InvalidState("settings of the connection are missing".into())),
    }
}

/// Whether a setting goes into calls of the service. A client's secret, which is for exchanges only, stays sealed.
fn is_called_with(connector: &Connector, id: &str) -> bool {
    connector.api.as_ref().is_some_and(|api| api.uses(connector.auth_type, id))
}

fn is_near(access: &Access, now: Moment) -> bool {
    let Some(end) = access.expires_at else { return false };
    let life = (end.millis() - access.since.millis()).max(0) / 1000;
    end.plus_seconds(-NEAR.min(life / 4)) <= now
}
