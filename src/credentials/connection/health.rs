//! How a connection fares, in the vendor's words (Apideck `health`).

use super::{Connection, Phase};
use crate::credentials::connector::AuthType;
use crate::kernel::Moment;

/// How a connection to a service of this sort fares, where it stands at this phase.
#[must_use]
pub fn health(auth: AuthType, live: &Connection, phase: Phase) -> &'static str {
    let extra = live.extra.as_deref();
    let kept = live.holds_tokens();
    match phase {
        _ if extra.is_some_and(|extra| extra.revoked.is_some()) => "revoked",
        _ if live.is_denied() => "needs_consent",
        _ if !kept && extra.is_some_and(|extra| extra.unconfirmed.is_some()) => "pending_confirmation",
        // What began and was lost is tried again by itself; what began and failed waits for its user.
        _ if live.failure.as_ref().is_some_and(|failure| kept || (failure.lost && live.begins_anew())) => "pending_refresh",
        Phase::Callable if extra.is_some_and(|extra| extra.downstream_failed_at.is_some()) => "degraded",
        Phase::Callable => "ok",
        Phase::Added if auth == AuthType::Oauth2 => "needs_auth",
        Phase::Added | Phase::Authorized => "missing_settings",
        Phase::Invalid => "needs_auth",
    }
}

impl Connection {
    /// When its tokens are removed, because the service refuses them. While the service is not reached, nobody knows whether it still does.
    #[must_use]
    pub fn drops_at(&self) -> Option<Moment> {
        let since = self.failure.as_ref().filter(|failure| self.holds_tokens() && failure.is_refusal())?.refused_since?;
        Some(since.plus_seconds(super::KEPT_AFTER_REFUSAL))
    }
}
