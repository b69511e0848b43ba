//! What became of any thing.

use axum::response::Response;

use crate::credentials::AnyState;
use crate::kernel::{Permission, Refusal, StreamId};
use crate::surfaces::v1::caller::{Caller, Named};
use crate::surfaces::v1::credentials::HistoryPage;
use crate::surfaces::v1::events::{Events, story};
use crate::web::problem::{Errors, Problem};

/// Get a thing's history
///
/// Of a thing of any kind, deleted or not: all its events, newest first, each with what it changed, field by field; secrets by version and
/// fingerprint. Of what was shredded, only who did what and when is left. Needs `history:read`.
#[utoipa::path(get, path = "/v1/history/{id}", operation_id = "history", tag = "Time", params(("id" = String, Path), HistoryPage, crate::surfaces::v1::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(in crate::surfaces::v1) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let views = caller.vault.views();
    let own = &caller.principal.app_ids;
    let seen = |app: Option<&str>| own.is_empty() || app.is_none_or(|app| own.iter().any(|id| id == app));
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant && entry.first <= position && seen(entry.state.app()));
    // To which application something belonged that was shredded is not known any more.
    entry.filter(|entry| own.is_empty() || !matches!(entry.state, AnyState::Shredded(_))).ok_or(Refusal::NotFound)?;
    let to = params.cursor()?.map_or(position, |at| at.min(position));
    Ok(story(caller.vault.story(&caller.principal, id, to, params.limit()?).await?, position))
}
