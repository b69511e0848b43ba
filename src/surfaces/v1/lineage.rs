//! Lineage: which exchange produced which token of a connection, and what became of it.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, Named, answer, cursor};
use super::credentials::{HistoryPage, gone};
use crate::credentials::AnyState;
use crate::credentials::connection::State;
use crate::kernel::{Permission, Refusal, StreamId};
use crate::vault::{Descent, Traced};
use crate::web::problem::{Errors, Problem};

/// An exchange or an import, and the tokens that it brought.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenOrigin {
    /// Of the event that tells of the result.
    position: u64,
    /// When.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// Who asked for it; all zero for the vault itself.
    actor: String,
    /// `import`, `authorization_code`, `client_credentials`, `password` or `refresh_token`.
    #[schema(example = "refresh_token")]
    grant: &'static str,
    /// Of the event that announced the exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<u64>,
    /// Of the event that brought what was presented: the refresh token, or the authorization of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    /// `stored`, `failed`, or `lost` when it is unknown what the service did.
    #[schema(example = "stored")]
    outcome: &'static str,
    /// Why there are no tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The HTTP status of the service's answer, when it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// When the access token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<TokenFate>,
    /// The refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<TokenFate>,
}

/// A token, without its value.
#[derive(Serialize, ToSchema)]
struct TokenFate {
    /// Keyed hash of the value: equal values of one tenant have equal ones.
    fingerprint: String,
    /// `current`, `waiting` (to be confirmed), `late` (others had taken its place), `superseded`, `dropped`, `revoked` or `deleted`.
    #[schema(example = "superseded")]
    fate: &'static str,
    /// Of the event that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<u64>,
    /// Whether its key was destroyed.
    shredded: bool,
}

/// A page of origins.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenOrigins {
    /// Newest first.
    data: Vec<TokenOrigin>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

fn fate(token: &Traced) -> TokenFate {
    TokenFate { fingerprint: token.fingerprint.to_string(), fate: token.fate.name(), ended_by: token.ended_by.map(|by| by.0), shredded: token.shredded }
}

pub(super) fn origin(descent: Descent) -> TokenOrigin {
    let outcome = match (&descent.failed, descent.lost) {
        (None, _) => "stored",
        (Some(_), true) => "lost",
        (Some(_), false) => "failed",
    };
    let (cause, status) = descent.failed.map_or((None, None), |(cause, status)| (Some(cause), status));
    let grant = match (descent.grant, descent.intent, &cause) {
        (Some(grant), _, _) => grant.name(),
        (None, None, None) => "import",
        _ => "unknown",
    };
    TokenOrigin {
        position: descent.position.0,
        recorded_at: descent.recorded_at.to_string(),
        actor: descent.actor.to_string(),
        grant,
        intent: descent.intent.map(|intent| intent.0),
        parent: descent.parent.map(|parent| parent.0),
        outcome,
        cause,
        status,
        expires_at: descent.expires_at.map(|at| at.to_string()),
        access_token: descent.access.as_ref().map(fate),
        refresh_token: descent.refresh.as_ref().map(fate),
    }
}

/// Get the lineage of a connection's tokens
///
/// Every exchange and import, newest first: when, by which grant, from which parent, why one failed, and what became of the tokens; never their
/// values. `id` is that of `/v1/credentials`. Needs `history:read`.
#[utoipa::path(get, path = "/v1/connections/{id}/tokens", operation_id = "connection_tokens", tag = "Credentials", params(("id" = String, Path), HistoryPage, super::log::AsOfParams), responses((status = 200, body = TokenOrigins), Errors))]
pub(super) async fn tokens(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let (position, limit, before) = (caller.position(&params).await?, params.limit()?, params.cursor()?);
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let views = caller.vault.views();
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant && entry.first <= position).ok_or(Refusal::NotFound)?;
    let app = match &entry.state {
        AnyState::Connection(State::Live(live)) => &live.key.app,
        AnyState::Connection(State::Deleted { key, .. }) => &key.app,
        _ => return Err(gone(&caller, entry).into()),
    };
    if !caller.principal.app_ids.is_empty() && !caller.principal.app_ids.contains(app) {
        return Err(Refusal::NotFound.into());
    }
    let all = caller.vault.lineage(&caller.principal, id, position).await?;
    let mut rows: Vec<Descent> = all.into_iter().filter(|descent| before.is_none_or(|before| descent.position < before)).take(limit + 1).collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| cursor(last.position));
    let data = rows.into_iter().map(origin).collect();
    Ok(answer(position, &TokenOrigins { data, next_cursor, position: position.0 }))
}
