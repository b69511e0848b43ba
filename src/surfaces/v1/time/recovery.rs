//! Things put back to a moment, in the vault that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::diff::consumer;
use super::undo::reason;
use super::{AppliedView, PlanView, When, moment, refused, stale, tenant};
use crate::credentials::recovery::{Selection, State};
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Refusal, StreamId};
use crate::surfaces::Front;
use crate::surfaces::v1::caller::{Caller, Named, answer};
use crate::surfaces::v1::credentials::HistoryPage;
use crate::surfaces::v1::listing;
use crate::vault::Command;
use crate::vault::compensation::{Planned, of_all_applications};
use crate::views::Entry;
use crate::web::body::{bytes, parse, read_json};
use crate::web::limits::{BODY, PAGE_MAX};
use crate::web::problem::{Errors, Problem};

/// What tells one command from another under the same idempotency key.
const ROUTE: &str = "recovery/apply";

/// To which moment, and what.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::surfaces::v1) struct RecoveryRequest {
    /// Through this position, or through the last event recorded before this instant.
    #[schema(value_type = String, example = "2026-05-04T14:05:00Z")]
    to: When,
    /// Things of this tenant, by name; the caller's own when absent, `*` for the whole vault. Others than one's own need `vault:operate`.
    #[serde(default)]
    tenant: Option<String>,
    /// Only things of this kind, such as `connection` or `user`.
    #[serde(default)]
    kind: Option<String>,
    /// A consumer and its connections only, as `application/consumer`.
    #[serde(default)]
    consumer: Option<String>,
    /// Only this thing.
    #[serde(default)]
    id: Option<String>,
    /// Whether secrets that were ended on purpose (revoked, rotated away) may work again; needs `secrets:revive`.
    #[serde(default)]
    revive: bool,
    /// So many things are passed over in the answer.
    #[serde(default)]
    skip: usize,
    /// The preview's `plan`; only to apply it.
    #[serde(default)]
    plan: Option<String>,
    /// Why; it stands in the events. Only to apply it.
    #[serde(default)]
    reason: Option<String>,
}

/// A recovery.
#[derive(Serialize, ToSchema)]
pub(in crate::surfaces::v1) struct RecoveryView {
    /// Its id.
    id: String,
    /// Who asked.
    by: String,
    /// To the state at this position; of an undo, the position of the event that is taken back.
    to: u64,
    /// Whether it is an undo that takes more than one group.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undo: bool,
    /// What: `tenant`, `kind`, `consumer`, `thing`; absent ones do not narrow it.
    #[schema(value_type = Object)]
    selection: Selection,
    /// How many things differed.
    things: u64,
    /// How many were seen to so far, while it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// Position of its beginning: what caused all of its events.
    started: u64,
    /// When it began.
    #[schema(format = DateTime)]
    started_at: String,
    /// When it ended; absent while it runs, or after it was cut off: the next start goes on with it.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// How many things were put back or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reverted: Option<u64>,
    /// Things that moved while it ran: they stayed as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Vec<String>>,
}

/// A page of recoveries.
#[derive(Serialize, ToSchema)]
pub(in crate::surfaces::v1) struct Recoveries {
    /// In the order in which they began.
    data: Vec<RecoveryView>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

/// What takes longer than other routes.
pub(in crate::surfaces::v1) fn slow_routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new().routes(routes!(apply))
}

fn selection(caller: &Caller, request: &RecoveryRequest) -> Result<Selection, Problem> {
    if let Some(kind) = request.kind.as_ref().filter(|kind| Kind::named(kind).is_none()) {
        let wrong = format!("there is no kind {kind:?}");
        return Err(Problem::invalid(format!("kind: {wrong}")).at("kind", wrong));
    }
    Ok(Selection {
        tenant: tenant(caller, &caller.vault.views(), request.tenant.as_deref())?,
        kind: request.kind.clone(),
        consumer: request.consumer.as_deref().map(consumer).transpose()?,
        thing: request.id.as_deref().map(|text| text.parse().map_err(|_| Problem::from(Refusal::NotFound))).transpose()?,
    })
}

async fn planned(caller: &Caller, request: &RecoveryRequest, selection: &Selection) -> Result<Planned, Problem> {
    let to = moment(caller, "to", &request.to).await?;
    let planned = caller.vault.plan_recovery(&caller.principal, to, selection, request.revive).await?.map_err(|_| Problem::busy())?;
    if !caller.vault.selects(selection) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "the selection matches nothing"));
    }
    Ok(planned)
}

/// Preview a recovery
///
/// What putting things back to a moment would do, on the vault that runs: the whole of it, a tenant, a kind, a consumer or one thing. Nothing is
/// written. Needs `recovery:apply`, for other tenants and the whole vault `vault:operate` as well.
#[utoipa::path(post, path = "/v1/recovery/preview", operation_id = "recovery_preview", tag = "Time", request_body = RecoveryRequest, responses((status = 200, body = PlanView), Errors))]
pub(in crate::surfaces::v1) async fn preview(caller: Caller, body: Body) -> Result<Response, Problem> {
    caller.may(Permission::RecoveryApply)?;
    let request: RecoveryRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let planned = planned(&caller, &request, &selection(&caller, &request)?).await?;
    Ok(answer(planned.at, &PlanView::of(&caller, &planned, request.skip, PAGE_MAX)))
}

/// Recover
///
/// Carries out what a preview showed: compensating events under the event that begins the recovery, group after group where there are many things,
/// each group at a consistent place. A plan whose things have moved is refused, and nothing is written; later writes outside of it stay. It goes on
/// when nobody waits for the answer any more, and after a restart. Needs what the preview needs.
#[utoipa::path(post, path = "/v1/recovery/apply", operation_id = "recovery_apply", tag = "Time", request_body = RecoveryRequest, responses((status = 200, body = AppliedView), Errors))]
pub(in crate::surfaces::v1) async fn apply(caller: Caller, body: Body) -> Result<Response, Problem> {
    let mut meta = caller.may(Permission::RecoveryApply)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let request: RecoveryRequest = parse(&bytes)?;
    meta.reason = reason(request.reason.clone())?;
    let selection = selection(&caller, &request)?;
    let parts = [&bytes[..]];
    let command = caller.command(meta, ROUTE, &parts)?;
    if let Some(done) = caller.vault.applied_before(&command, selection.tenant).await? {
        return Ok(answer(done.position, &AppliedView::from(done)));
    }
    let planned = planned(&caller, &request, &selection).await?;
    if request.plan.as_ref() != Some(&planned.id) || planned.acting().next().is_none() {
        return Err(stale());
    }
    let (vault, by, meta) = (Arc::clone(&caller.vault), caller.principal.clone(), command.meta.clone());
    let key = command.idempotency.map(|(_, key, _)| key.to_owned());
    // On its own: a caller that goes away does not stop it half way.
    let done = tokio::spawn(async move {
        let parts = [&bytes[..]];
        let command = Command { principal: &by, meta, idempotency: key.as_deref().map(|key| (ROUTE, key, &parts[..])) };
        vault.apply(&command, &planned).await
    });
    let applied = done.await.map_err(|_| Problem::busy())?.map_err(refused)?;
    Ok(answer(applied.position, &AppliedView::from(applied)))
}

fn view(caller: &Caller, id: StreamId, entry: &Entry) -> Option<RecoveryView> {
    let AnyState::Recovery(State { to, undone, selection, things, by, started, started_at, finished, .. }) = &entry.state else { return None };
    let running = caller.vault.recovering().filter(|(of, _)| *of == id && finished.is_none());
    Some(RecoveryView {
        id: id.to_string(),
        by: by.to_string(),
        to: to.0,
        undo: undone.is_some(),
        selection: selection.clone(),
        things: *things,
        done: running.map(|(_, running)| running.done.load(Ordering::Relaxed)),
        started: started.0,
        started_at: started_at.to_string(),
        finished_at: finished.as_ref().map(|end| end.at.to_string()),
        reverted: finished.as_ref().map(|end| end.reverted),
        left: finished.as_ref().map(|end| end.left.iter().map(ToString::to_string).collect()),
    })
}

/// List recoveries
///
/// Those of the caller's tenant. Needs `recovery:apply`.
#[utoipa::path(get, path = "/v1/recoveries", operation_id = "recovery_list", tag = "Time", params(HistoryPage, crate::surfaces::v1::log::AsOfParams), responses((status = 200, body = Recoveries), Errors))]
pub(in crate::surfaces::v1) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::RecoveryApply)?;
    of_all_applications(&caller.principal)?;
    let params = caller.params(&["limit", "cursor"])?;
    listing::list(&caller, &params, Kind::Recovery, |_, id, entry| view(&caller, id, entry)).await
}

/// Get a recovery
///
/// How far it is, or how it ended. Needs `recovery:apply`.
#[utoipa::path(get, path = "/v1/recoveries/{id}", operation_id = "recovery_get", tag = "Time", params(("id" = String, Path), crate::surfaces::v1::log::AsOfParams), responses((status = 200, body = RecoveryView), Errors))]
pub(in crate::surfaces::v1) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::RecoveryApply)?;
    of_all_applications(&caller.principal)?;
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let (id, entry) = listing::find(&views, caller.principal.tenant, &id, Kind::Recovery)?;
    Ok(answer(views.position(), &view(&caller, id, entry).ok_or(Refusal::NotFound)?))
}
