//! Webhooks: endpoints that are told what becomes of a tenant's connections, signed by the Standard Webhooks scheme.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::events::Events;
use super::listing::{self, Page, Paged, find};
use super::{dead_letters, gone, nullable};
use crate::credentials::webhook::{Changes, EVERYTHING, Failed, GRACE, Profile, Replay, State, Webhook};
use crate::credentials::{AnyState, Kind, To};
use crate::kernel::{Permission, Position, Refusal, Secret, StreamId};
use crate::vault::{Given, plans};
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookView {
    /// Its id.
    id: String,
    /// Where it is told.
    #[schema(example = "https://example.com/keyledger")]
    url: String,
    /// What it is told: names of events; `*` stands for all.
    #[schema(example = json!(["vault.connection.callable", "vault.connection.token_refresh.failed"]))]
    events: Vec<String>,
    /// Free text.
    description: Option<String>,
    /// Whether it is told anything. One that is not stands where it stands, and goes on from there.
    enabled: bool,
    /// Why nobody but its endpoint disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<GoneView>,
    /// Until when a former secret signs along.
    #[schema(format = DateTime)]
    grace_until: Option<String>,
    /// How far it has been told, by what is recorded: four times a minute at most.
    delivery: Delivery,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// An endpoint that wants nothing any more.
#[derive(Serialize, ToSchema)]
struct GoneView {
    /// When it said so.
    #[schema(format = DateTime)]
    at: String,
    /// How.
    cause: String,
}

/// How far a webhook has been told.
#[derive(Serialize, ToSchema)]
struct Delivery {
    /// All events through this position were seen to.
    through: u64,
    /// How many messages were delivered.
    delivered: u64,
    /// How many failed and are tried again.
    retrying: usize,
    /// How many wait to be sent again.
    replaying: usize,
    /// How many were given up and are kept.
    dead: usize,
    /// How many were given up and are not kept any more.
    dropped: u64,
    /// Failures in a row. From 8 on nothing new is sent until a message that failed is delivered or given up.
    failures: u32,
    /// The latest delivery.
    #[schema(format = DateTime)]
    last_delivered_at: Option<String>,
    /// The latest failure.
    last_failure: Option<FailureView>,
}

/// Why a message was not taken.
#[derive(Serialize, ToSchema)]
pub(super) struct FailureView {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// In words.
    #[schema(example = "the endpoint answered 500")]
    cause: String,
    /// The status of the endpoint's answer, if one came.
    status: Option<u16>,
}

impl From<&Failed> for FailureView {
    fn from(failed: &Failed) -> Self {
        Self { at: failed.at.to_string(), cause: failed.cause.clone(), status: failed.status }
    }
}

/// A webhook, and what its messages are signed with, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewWebhookView {
    /// The webhook.
    webhook: WebhookView,
    /// `whsec_` and base64 of 32 bytes: the key of HMAC-SHA256.
    secret: String,
}

/// A new webhook.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// Where it is told: https, or whatever leads to addresses that the operator opened.
    #[schema(example = "https://example.com/keyledger")]
    url: String,
    /// What it is told; everything when absent.
    #[schema(example = json!(["*"]))]
    events: Option<Vec<String>>,
    /// Free text, at most 256 bytes.
    description: Option<String>,
    /// Whether it is told anything; it is when absent.
    enabled: Option<bool>,
}

/// What changes; absent parts stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookChanges {
    /// Where it is told.
    url: Option<String>,
    /// What it is told.
    events: Option<Vec<String>>,
    /// Free text; `null` takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    description: Option<To<String>>,
    /// Whether it is told anything.
    enabled: Option<bool>,
}

/// How a secret is replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookRotation {
    /// How long the former secret signs along, at most 604,800; 86,400 when absent.
    grace_seconds: Option<u64>,
}

/// What is sent again; nothing of it stands for all dead letters.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookReplay {
    /// The dead letters that tell of these events.
    positions: Option<Vec<u64>>,
    /// Everything from this event on, delivered or not.
    from: Option<u64>,
}

/// What came of trying a webhook out.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookTest {
    /// Whether the endpoint took the message.
    delivered: bool,
    /// The status of the endpoint's answer, if one came.
    status: Option<u16>,
    /// Why it did not take it.
    cause: Option<String>,
    /// The `webhook-id` of the message.
    message_id: String,
    /// Position of the event that says so.
    position: u64,
}

pub(super) fn live(entry: &Entry) -> Option<&Webhook> {
    match &entry.state {
        AnyState::Webhook(State::Live(live)) => Some(live),
        _ => None,
    }
}

fn view(id: StreamId, entry: &Entry, at: crate::kernel::Moment) -> Option<WebhookView> {
    let live = live(entry)?;
    let (profile, progress) = (&live.profile, &live.progress);
    Some(WebhookView {
        id: id.to_string(),
        url: profile.url.clone(),
        events: profile.events.clone(),
        description: profile.description.clone(),
        enabled: profile.enabled,
        gone: live.gone.as_ref().map(|(at, cause)| GoneView { at: at.to_string(), cause: cause.clone() }),
        grace_until: live.former.iter().map(|former| former.until).filter(|until| *until > at).max().map(|until| until.to_string()),
        delivery: Delivery {
            through: progress.through.0,
            delivered: progress.delivered,
            retrying: progress.retrying.len(),
            replaying: progress.replaying.len(),
            dead: progress.dead.len(),
            dropped: progress.dropped,
            failures: progress.failures,
            last_delivered_at: progress.delivered_at.map(|at| at.to_string()),
            last_failure: progress.failed.as_ref().map(FailureView::from),
        },
        created_at: live.created_at.to_string(),
        updated_at: live.updated_at.to_string(),
        content_version: entry.content_version.0,
    })
}

/// The time that a view is of: now, or when its last event was taken.
fn moment(caller: &Caller, views: &Views) -> crate::kernel::Moment {
    if caller.asks_for_the_past() { views.recorded_at() } else { caller.vault.time(views) }
}

fn shown(caller: &Caller, views: &Views, id: StreamId) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(id, entry, moment(caller, views)).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// With what its messages are signed with, once.
fn shown_with_secret(caller: &Caller, views: &Views, id: StreamId, values: &[Secret]) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let webhook = view(id, entry, moment(caller, views)).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &NewWebhookView { webhook, secret: super::text(values.first())? });
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// List webhooks
///
/// At most 16 are there at a time. Needs `webhooks:read`.
#[utoipa::path(get, path = "/v1/webhooks", operation_id = "webhooks_list", tag = "Webhooks", params(Paged, super::log::AsOfParams), responses((status = 200, body = Page<WebhookView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::WebhooksRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    listing::list(&caller, &params, Kind::Webhook, |views, id, entry| view(id, entry, moment(&caller, views))).await
}

/// Create a webhook
///
/// It is told of what happens from now on. Its secret is shown this once. Needs `webhooks:write` and `connections:read`, in all applications.
#[utoipa::path(post, path = "/v1/webhooks", operation_id = "webhooks_create", tag = "Webhooks", params(Repeatable), request_body = NewWebhook, responses((status = 201, body = NewWebhookView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewWebhook = parse(&bytes)?;
    caller.webhooks.vet(&new.url)?;
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "webhooks/create", &parts)?;
    let mut drawn: Vec<Secret> = Vec::new();
    let decide = |given: &Given<'_>| {
        let events = new.events.clone().unwrap_or_else(|| vec![EVERYTHING.to_owned()]);
        let profile = Profile { url: new.url.clone(), events, description: new.description.clone(), enabled: new.enabled.unwrap_or(true) };
        let (plan, values) = plans::create_webhook(given, &caller.principal, profile)?;
        drawn = values;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let (id, values) = (caller.first_thing(&done).await?, caller.shown_once(&done, drawn).await?);
    Ok((StatusCode::CREATED, shown_with_secret(&caller, &done.views, id, &values)?).into_response())
}

/// Get a webhook
///
/// Needs `webhooks:read`.
#[utoipa::path(get, path = "/v1/webhooks/{id}", operation_id = "webhooks_get", tag = "Webhooks", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = WebhookView), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::WebhooksRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    let (id, _) = find(&views, caller.principal.tenant, &id, Kind::Webhook)?;
    shown(&caller, &views, id)
}

/// Get a webhook's history
///
/// All its events, newest first, deleted or not. Needs `history:read`.
#[utoipa::path(get, path = "/v1/webhooks/{id}/history", operation_id = "webhooks_history", tag = "Webhooks", params(("id" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    listing::history(&caller, &id, Kind::Webhook).await
}

/// Update a webhook
///
/// One that is enabled again goes on where it stood. Needs `webhooks:write` and `connections:read`, in all applications.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", operation_id = "webhooks_update", tag = "Webhooks", params(Change, ("id" = String, Path)), request_body = WebhookChanges, responses((status = 200, body = WebhookView), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let given: WebhookChanges = parse(&bytes)?;
    given.url.as_deref().map_or(Ok(()), |url| caller.webhooks.vet(url))?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let (route, parts) = (format!("webhooks/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let changes = Changes { url: given.url, events: given.events, description: given.description, enabled: given.enabled };
    let done = caller.vault.execute(&command, |at| plans::update_webhook(at, &caller.principal, id, changes.clone(), expected)).await?;
    shown(&caller, &done.views, id)
}

/// Delete a webhook
///
/// Needs `webhooks:write`, in all applications.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", operation_id = "webhooks_delete", tag = "Webhooks", params(Change, ("id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let expected = caller.if_match()?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let route = format!("webhooks/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_webhook(given, &caller.principal, id, expected)).await?;
    Ok(gone(&done))
}

/// Rotate a webhook's secret
///
/// The former secret signs along for a grace: each message then bears a signature of both. Needs `webhooks:write` and `connections:read`, in all
/// applications.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", operation_id = "webhooks_rotate", tag = "Webhooks", params(Change, ("id" = String, Path)), request_body = Option<WebhookRotation>, responses((status = 200, body = NewWebhookView), Errors))]
pub(super) async fn rotate(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.unwrap_or_default();
    let given: WebhookRotation = if bytes.is_empty() { WebhookRotation { grace_seconds: None } } else { parse(&bytes)? };
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let (route, parts) = (format!("webhooks/rotate/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let mut drawn: Vec<Secret> = Vec::new();
    let decide = |at: &Given<'_>| {
        let (plan, values) = plans::rotate_webhook(at, &caller.principal, id, given.grace_seconds.unwrap_or(GRACE), expected)?;
        drawn = values;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&done, drawn).await?;
    shown_with_secret(&caller, &done.views, id, &values)
}

/// List a webhook's dead letters
///
/// What was given up, by the place of its event: at most 1,000 are kept, the oldest falls out. Needs `webhooks:read`.
#[utoipa::path(get, path = "/v1/webhooks/{id}/dead-letters", operation_id = "webhooks_dead_letters", tag = "Webhooks", params(("id" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Page<dead_letters::DeadLetter>), Errors))]
pub(super) async fn dead(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::WebhooksRead)?;
    dead_letters::page(&caller, &id).await
}

/// Replay a webhook
///
/// Sends its dead letters again, all or those of some events, or everything from one event on. The messages bear the ids that they had. Needs
/// `webhooks:write` and `connections:read`, in all applications.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", operation_id = "webhooks_replay", tag = "Webhooks", params(Repeatable, ("id" = String, Path)), request_body = Option<WebhookReplay>, responses((status = 200, body = WebhookView), Errors))]
pub(super) async fn replay(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let bytes = bytes(body, BODY).await?.unwrap_or_default();
    let given: WebhookReplay = if bytes.is_empty() { WebhookReplay::default() } else { parse(&bytes)? };
    let what = match (given.positions, given.from) {
        (Some(_), Some(_)) => return Err(Problem::invalid("takes positions or from, not both")),
        (Some(positions), None) => Replay::Positions(positions.into_iter().map(Position).collect()),
        (None, Some(from)) => Replay::From(Position(from)),
        (None, None) => Replay::Dead,
    };
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let (route, parts) = (format!("webhooks/replay/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let done = caller.vault.execute(&command, |at| plans::replay_webhook(at, &caller.principal, id, what.clone())).await?;
    shown(&caller, &done.views, id)
}

/// Try a webhook out
///
/// Sends a `ping` now, whether the webhook is enabled or not, and tells what came of it. Sent twice, it sends twice. Needs `webhooks:write`.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", operation_id = "webhooks_test", tag = "Webhooks", params(("id" = String, Path)), responses((status = 200, body = WebhookTest), Errors))]
pub(super) async fn test(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::WebhooksWrite)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let command = crate::vault::Command { principal: &caller.principal, meta, idempotency: None };
    let tested = caller.webhooks.test(&command, id).await?;
    let shown = WebhookTest { delivered: tested.cause.is_none(), status: tested.status, cause: tested.cause, message_id: tested.id, position: tested.at.0 };
    Ok(answer(tested.at, &shown))
}
