//! How a connection fares, in the vendor's words (Apideck `health`).

use super::{Connection, Phase};
use crate::credentials::connector::AuthType;
use crate::kernel::Moment;

/// How a connection to a service of this sort fares, where it stands at this phase.
#[must_use]
pub fn health(auth: AuthType, live: &Connection, phase: Phase) -> &'static str {
    let extra = live.extra.as_deref();
    let kept = live.access.is_some() || live.refresh.is_some();
    match phase {
        _ if extra.is_some_and(|extra| extra.revoked.is_some()) => "revoked",
        _ if live.is_denied() => "needs_consent",
        _ if !kept && extra.is_some_and(|extra| extra.unconfirmed.is_some()) => "pending_confirmation",
        _ if live.failure.as_ref().is_some_and(|failure| kept || failure.passing) => "pending_refresh",
        Phase::Callable if extra.is_some_and(|extra| extra.downstream_failed_at.is_some()) => "degraded",
        Phase::Callable => "ok",
        Phase::Added if auth == AuthType::Oauth2 => "needs_auth",
        Phase::Added | Phase::Authorized => "missing_settings",
        Phase::Invalid => "needs_auth",
    }
}

impl Connection {
    /// When its tokens are removed, because the service refuses them.
    #[must_use]
    pub fn drops_at(&self) -> Option<Moment> {
        let kept = self.access.is_some() || self.refresh.is_some();
        let since = self.failure.as_ref().filter(|_| kept)?.refused_since?;
        Some(since.plus_seconds(super::KEPT_AFTER_REFUSAL))
    }
}
