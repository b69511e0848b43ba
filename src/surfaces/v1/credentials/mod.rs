//! Credentials of all kinds, as one list; and the rotation of the secrets that this vault issued.

mod render;
pub(super) mod rotation;

use axum::http::header;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, Params, answer, cursor};
use super::events::{Events, story};
use crate::credentials::AnyState;
use crate::kernel::{Permission, Position, Refusal, StreamId};
use crate::views::{CREDENTIALS, Entry, Views};
use crate::web::caller::etag;
use crate::web::problem::{Errors, Problem};
use render::Of;
pub(super) use render::{Credential, IssuedEntry, Lens};

const KINDS: &str = "kind: is connection, api_key, provider_key, api_client, user_application, application or integration";

/// A page of credentials.
#[derive(Serialize, ToSchema)]
pub(super) struct Credentials {
    /// In the order in which they were made.
    data: Vec<Credential>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

/// What is looked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Wanted {
    /// `connection`, `api_key`, `provider_key`, `api_client`, `user_application`, `application` or `integration`.
    kind: Option<String>,
    /// Only of this application.
    app: Option<String>,
    /// Only of this consumer.
    consumer: Option<String>,
    /// `live` (the default), `deleted` or `all`.
    show: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// Pages of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct HistoryPage {
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// How a caller's read looks at credentials.
fn lens<'a>(caller: &'a Caller, params: &Params, views: &'a Views) -> Lens<'a> {
    lens_of(caller, params.get("as_of").is_some(), views)
}

/// How things are looked at, now or in the past.
pub(super) fn lens_of<'a>(caller: &'a Caller, past: bool, views: &'a Views) -> Lens<'a> {
    if past { Lens { views, vault: None, now: views.recorded_at() } } else { Lens { views, vault: Some(&caller.vault), now: caller.vault.time(views) } }
}

/// List credentials
///
/// Those of the caller's tenant. Needs `credentials:read`.
#[utoipa::path(get, path = "/v1/credentials", operation_id = "credentials_list", tag = "Credentials", params(Wanted, super::log::AsOfParams), responses((status = 200, body = Credentials), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::CredentialsRead)?;
    let params = caller.params(&["kind", "app", "consumer", "show", "limit", "cursor"])?;
    let (limit, after) = (params.limit()?, params.cursor()?.unwrap_or_default());
    let kind = params.get("kind").map(|name| CREDENTIALS.into_iter().find(|kind| kind.name() == name).ok_or_else(|| Problem::invalid(KINDS))).transpose()?;
    let deleted = match params.get("show") {
        None | Some("live") => Some(false),
        Some("deleted") => Some(true),
        Some("all") => None,
        Some(_) => return Err(Problem::invalid("show: is live, deleted or all")),
    };
    let views = caller.views(&params).await?;
    let lens = lens(&caller, &params, &views);
    let wanted = |credential: &Credential| {
        let of = |name: &str, part: fn(&Of) -> &str| params.get(name).is_none_or(|value| credential.connection.as_ref().is_some_and(|of| part(of) == value));
        deleted.is_none_or(|deleted| deleted == (credential.state == "deleted"))
            && of("app", |of| &of.app)
            && of("consumer", |of| &of.consumer)
            && sees(&caller, credential)
    };
    let tenant = caller.principal.tenant;
    let shown = |(id, entry): (StreamId, &std::sync::Arc<Entry>)| lens.credential(id, entry).filter(wanted);
    let mut data: Vec<Credential> = match kind {
        Some(kind) => views.listed(tenant, kind, after).filter_map(shown).take(limit + 1).collect(),
        None => views.credentials(tenant, after).filter_map(shown).take(limit + 1).collect(),
    };
    let more = data.len() > limit;
    data.truncate(limit);
    let next_cursor = data.last().filter(|_| more).map(|last| cursor(Position(last.first_position)));
    Ok(answer(views.position(), &Credentials { data, next_cursor, position: views.position().0 }))
}

/// Get a credential
///
/// Deleted ones are shown as such. Needs `credentials:read`.
#[utoipa::path(get, path = "/v1/credentials/{id}", operation_id = "credentials_get", tag = "Credentials", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = Credential), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::CredentialsRead)?;
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant).ok_or(Refusal::NotFound)?;
    let shown = lens(&caller, &params, &views).credential(id, entry);
    let credential = shown.filter(|credential| sees(&caller, credential)).ok_or_else(|| gone(&caller, entry))?;
    let mut response = answer(views.position(), &credential);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// Get a credential's history
///
/// All its events, newest first: who did what, when, from where, under which rule, and what each changed, field by field; secrets by version and
/// fingerprint. Needs `history:read`.
#[utoipa::path(get, path = "/v1/credentials/{id}/history", operation_id = "credentials_history", tag = "Credentials", params(("id" = String, Path), HistoryPage, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let views = caller.vault.views();
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant && entry.first <= position).ok_or(Refusal::NotFound)?;
    lens(&caller, &params, &views).credential(id, entry).filter(|credential| sees(&caller, credential)).ok_or_else(|| gone(&caller, entry))?;
    let to = params.cursor()?.map_or(position, |at| at.min(position));
    let found = caller.vault.story(&caller.principal, id, to, params.limit()?).await?;
    Ok(story(found, position))
}

/// What is told of a thing that is not shown: that it was shredded, to whom it could be shown whatever application it belonged to.
pub(super) fn gone(caller: &Caller, entry: &Entry) -> Refusal {
    let shredded = matches!(entry.state, AnyState::Shredded(_)) && caller.principal.app_ids.is_empty();
    if shredded { Refusal::Shredded } else { Refusal::NotFound }
}

/// Whether the caller's token may name the application that a credential belongs to.
fn sees(caller: &Caller, credential: &Credential) -> bool {
    let own = &caller.principal.app_ids;
    own.is_empty() || credential.connection.as_ref().is_none_or(|of| own.contains(&of.app))
}
