//! What an event did, taken back.

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{AppliedView, PlanView, refused, stale};
use crate::kernel::{Permission, Position};
use crate::surfaces::v1::caller::{Caller, answer};
use crate::web::body::{bytes, parse, read_json};
use crate::web::limits::{BODY, PAGE_MAX};
use crate::web::problem::{Errors, Problem};

/// What is to be taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::surfaces::v1) struct UndoRequest {
    /// The event's place in the log.
    #[schema(example = 1042)]
    event: u64,
    /// Only what this event did, and not those that came with it in one group: of a consumer that was deleted with its connections, only one.
    #[serde(default)]
    alone: bool,
    /// Whether secrets that were ended on purpose (revoked, rotated away) may work again; needs `secrets:revive`.
    #[serde(default)]
    revive: bool,
    /// So many things are passed over in the answer.
    #[serde(default)]
    skip: usize,
}

/// What was looked at, and is to be done now.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::surfaces::v1) struct UndoOrder {
    /// The event's place in the log.
    #[schema(example = 1042)]
    event: u64,
    /// As in the preview.
    #[serde(default)]
    alone: bool,
    /// As in the preview.
    #[serde(default)]
    revive: bool,
    /// The preview's `plan`.
    plan: String,
    /// Why; it stands in the events.
    #[serde(default)]
    reason: Option<String>,
}

/// The longest reason, in bytes.
pub(super) const MAX_REASON: usize = 512;

/// Preview an undo
///
/// What taking an event back would do, deletes included: before, after, what changed since, and what cannot come back. Nothing is written. Needs
/// `undo:apply`, and of each thing the permission to write it.
#[utoipa::path(post, path = "/v1/undo/preview", operation_id = "undo_preview", tag = "Time", request_body = UndoRequest, responses((status = 200, body = PlanView), Errors))]
pub(in crate::surfaces::v1) async fn preview(caller: Caller, body: Body) -> Result<Response, Problem> {
    caller.may(Permission::UndoApply)?;
    let request: UndoRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let planned = caller.vault.plan_undo(&caller.principal, Position(request.event), request.alone, request.revive).await?;
    Ok(answer(planned.at, &PlanView::of(&caller, &planned, request.skip, PAGE_MAX)))
}

/// Undo
///
/// Carries out what a preview showed, all in one group where it fits into one; the events name the undone one as their cause, so that an undo is
/// undone like anything else. A plan whose things have moved is refused, and nothing is written. Needs what the preview needs.
#[utoipa::path(post, path = "/v1/undo/apply", operation_id = "undo_apply", tag = "Time", request_body = UndoOrder, responses((status = 200, body = AppliedView), Errors))]
pub(in crate::surfaces::v1) async fn apply(caller: Caller, body: Body) -> Result<Response, Problem> {
    let mut meta = caller.may(Permission::UndoApply)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let order: UndoOrder = parse(&bytes)?;
    meta.reason = reason(order.reason)?;
    let parts = [&bytes[..]];
    let command = caller.command(meta, "undo/apply", &parts)?;
    if let Some(done) = caller.vault.applied_before(&command, None).await? {
        return Ok(answer(done.position, &AppliedView::from(done)));
    }
    let planned = caller.vault.plan_undo(&caller.principal, Position(order.event), order.alone, order.revive).await?;
    if planned.id != order.plan || planned.acting().next().is_none() {
        return Err(stale());
    }
    let applied = caller.vault.apply(&command, &planned).await.map_err(refused)?;
    Ok(answer(applied.position, &AppliedView::from(applied)))
}

/// A reason that fits into an event.
pub(super) fn reason(given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if text.trim().is_empty() || text.len() > MAX_REASON => {
            let wrong = format!("takes 1 to {MAX_REASON} bytes");
            Err(Problem::invalid(format!("reason: {wrong}")).at("reason", wrong))
        }
        given => Ok(given),
    }
}
