//! What an export and a stream have in common: a caller that stays, and is asked again and again whether it still may.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use zeroize::Zeroizing;

use super::seats::Seat;
use crate::kernel::{Permission, Position, Refusal};
use crate::vault::access::Principal;
use crate::vault::{Filter, Stretch, Vault, VaultError};
use crate::web::caller::{bearer_token, only};
use crate::web::pieces::Ending;

/// What of a request is needed as long as its answer lasts.
pub(in super::super) struct Lasting {
    /// The token, to look at it again.
    token: Zeroizing<String>,
    /// The server's end.
    pub ending: Option<Ending>,
    /// What the caller has seen last, if it says so.
    pub last_seen: Option<Result<Position, NoPosition>>,
}

/// What the caller says to have seen is no position.
pub(in super::super) struct NoPosition;

impl<S: Send + Sync> FromRequestParts<S> for Lasting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let token = Zeroizing::new(bearer_token(&parts.headers).unwrap_or_default().to_owned());
        let position = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Position)).flatten();
        let last_seen = parts.headers.contains_key("last-event-id").then(|| only(&parts.headers, "last-event-id").and_then(position).ok_or(NoPosition));
        Ok(Self { token, ending: parts.extensions.get().cloned(), last_seen })
    }
}

/// A reader of the log that goes on from where it stands.
pub(super) struct Reader {
    pub vault: Arc<Vault>,
    pub filter: Filter,
    /// Everything through this position was looked at.
    pub at: Position,
    token: Zeroizing<String>,
    _seat: Seat,
}

impl Reader {
    pub fn new(vault: &Arc<Vault>, lasting: &mut Lasting, filter: Filter, seat: Seat) -> Self {
        let at = Position(filter.from.0.saturating_sub(1));
        Self { vault: Arc::clone(vault), filter, at, token: std::mem::take(&mut lasting.token), _seat: seat }
    }

    /// Who reads, while its token opens something and it may read the log.
    pub fn principal(&self) -> Result<Principal, Refusal> {
        let principal = self.vault.still(&self.token)?;
        if principal.held().holds(Permission::AuditRead) { Ok(principal) } else { Err(Refusal::Forbidden { permission: Permission::AuditRead.name() }) }
    }

    /// The next events.
    pub async fn next(&mut self) -> Result<Stretch, VaultError> {
        let stretch = self.vault.stretch(&self.principal()?, &self.filter, self.at).await?;
        self.at = stretch.through;
        Ok(stretch)
    }
}
