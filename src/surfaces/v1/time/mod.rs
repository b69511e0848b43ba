//! What was, against what is: differences between two moments, undo, and recovery in place.

pub(super) mod diff;
pub(super) mod history;
pub(super) mod recovery;
pub(super) mod undo;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use super::caller::Caller;
use crate::credentials::content::Difference;
use crate::kernel::{Moment, Permission, Position, Refusal, TenantId};
use crate::vault::VaultError;
use crate::vault::compensation::{self, Applied, Planned, Step, Wish};
use crate::views::Views;
use crate::web::problem::Problem;

/// The table of contents, but for what takes long.
pub(super) fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(history::history))
        .routes(routes!(diff::diff))
        .routes(routes!(undo::preview))
        .routes(routes!(undo::apply))
        .routes(routes!(recovery::preview))
        .routes(routes!(recovery::list))
        .routes(routes!(recovery::get))
}

/// A field that differs.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    /// Which, such as `settings.base_url`.
    #[schema(example = "settings.base_url")]
    field: String,
    /// What it was; absent where it was not there. Secrets by version and fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    /// What it is; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
    /// Whether it only goes forward: no undo and no recovery touches it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forward_only: bool,
}

/// Differences as they may be shown.
pub(super) fn shown(kind: &str, differences: &[Difference]) -> Vec<Change> {
    let show = |difference: &Difference| {
        let [from, to] = difference.shown(kind);
        Change { field: difference.field.to_string(), from, to, forward_only: difference.forward }
    };
    differences.iter().map(show).collect()
}

/// One thing of a plan.
#[derive(Serialize, ToSchema)]
struct PlannedThing {
    /// The thing.
    id: String,
    /// Its kind.
    #[schema(example = "connection")]
    kind: String,
    /// `revert` (it stands again as it stood), `delete` or `nothing`.
    #[schema(example = "revert")]
    does: &'static str,
    /// What is done to it, field by field: from where it stands now to where it is to stand. Empty for who lacks `history:read`, and of a thing
    /// that the caller may not put back.
    changes: Vec<Change>,
    /// Fields that changed again since the step that is taken back: they stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_since: Vec<String>,
    /// Secrets that were ended on purpose and would work again: boxes, or ids of issued secrets. Without `revive` they stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revives: Vec<String>,
    /// Secrets that cannot come back, because they were shredded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shredded: Vec<String>,
    /// Why nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Obstacle>,
}

/// What stands in the way.
#[derive(Serialize, ToSchema)]
struct Obstacle {
    /// A word that never changes: `only-forward`, `already-so`, `changed-since`, `deleted-since`, `name-taken`, `parent-missing`, `shredded`,
    /// `revives`, `exchange-under-way`, `in-use`, `connector-missing`, `last-owner`, `stays` or `forbidden`.
    #[schema(example = "name-taken")]
    code: &'static str,
    /// In a sentence, with what can be done.
    detail: String,
}

/// What would be done.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanView {
    /// Names exactly this plan: give it to `apply`. A plan whose things have moved is refused.
    plan: String,
    /// The position that the things are put back to; of an undo, the event.
    to: u64,
    /// The position that it was planned at.
    position: u64,
    /// Things that would be put back to how they stood.
    reverts: usize,
    /// Things that would be deleted.
    deletes: usize,
    /// Things that differ and to which nothing is done.
    stuck: usize,
    /// The things, in the order in which they are done; the first ones, where there are many.
    things: Vec<PlannedThing>,
    /// Give it as `skip` for those that follow; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_skip: Option<usize>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct AppliedView {
    /// Its first event; absent when nothing had to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    /// Its last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    /// How many things were put back or deleted.
    reverted: u64,
    /// Things that moved while it ran: they stayed as they were.
    left: Vec<String>,
    /// Of a recovery, its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

impl From<Applied> for AppliedView {
    fn from(applied: Applied) -> Self {
        Self {
            first: applied.events.map(|(first, _)| first.0),
            last: applied.events.map(|(_, last)| last.0),
            reverted: applied.reverted,
            left: applied.left.iter().map(ToString::to_string).collect(),
            recovery: applied.recovery.map(|id| id.to_string()),
            position: applied.position.0,
        }
    }
}

/// A step, with what it changes for those who may read the past, and of things that the caller may put back.
fn thing(step: &Step, reads: bool) -> PlannedThing {
    let reads = reads && !matches!(step.problem, Some(compensation::Problem::Forbidden(_)));
    PlannedThing {
        id: step.stream.to_string(),
        kind: step.kind.name().to_owned(),
        does: step.does(),
        changes: if reads { shown(step.kind.name(), &step.changes) } else { Vec::new() },
        changed_since: step.changed_since.iter().map(ToString::to_string).collect(),
        revives: step.revives.clone(),
        shredded: step.gone.clone(),
        problem: step.problem.as_ref().map(|problem| Obstacle { code: problem.name(), detail: problem.told() }),
    }
}

impl PlanView {
    fn of(caller: &Caller, planned: &Planned, skip: usize, limit: usize) -> Self {
        let does = |what: &str| planned.steps.iter().filter(|step| step.does() == what).count();
        let reads = caller.principal.held().holds(Permission::HistoryRead);
        let (Wish::Undo { position: to, .. } | Wish::Recover { to, .. }) = &planned.wish;
        Self {
            plan: planned.id.clone(),
            to: to.0,
            position: planned.at.0,
            reverts: does("revert"),
            deletes: does("delete"),
            stuck: does("nothing"),
            things: planned.steps.iter().skip(skip).take(limit).map(|step| thing(step, reads)).collect(),
            next_skip: Some(skip.saturating_add(limit)).filter(|next| *next < planned.steps.len()),
        }
    }
}

/// A position or an instant, as a body gives it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum When {
    /// A position.
    Position(u64),
    /// An RFC 3339 instant, or a position as text.
    Text(String),
}

/// The position that a moment comes down to. It must lie within the log.
async fn moment(caller: &Caller, field: &str, when: &When) -> Result<Position, Problem> {
    let text = match when {
        When::Position(position) => position.to_string(),
        When::Text(text) => text.clone(),
    };
    let (head, now) = (caller.vault.views().position(), caller.vault.now());
    if text.parse::<Moment>().is_ok_and(|instant| instant > now) {
        return Err(Problem::invalid(format!("{field}: lies in the future")).at(field, "lies in the future"));
    }
    let wrong = "takes a position, such as 1042, or an RFC 3339 instant, such as 2026-05-04T14:05:00Z";
    let position = caller.resolve(&text).await.map_err(|_| Problem::invalid(format!("{field}: {wrong}")).at(field, wrong))?;
    if position > head {
        return Err(Problem::new(StatusCode::NOT_FOUND, "past-the-end", format!("{field}: the log ends at position {head}")));
    }
    let begun = caller.vault.views_at(position).await?.map_err(|_| Problem::busy())?;
    if begun.vault().is_none() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "before-the-log", format!("{field}: the vault had not begun by then")));
    }
    Ok(position)
}

/// The tenant that is named: the caller's own when absent; `*` is all of them.
fn tenant(caller: &Caller, views: &Views, name: Option<&str>) -> Result<Option<TenantId>, Problem> {
    match name {
        None | Some("") => Ok(Some(caller.principal.tenant)),
        Some("*") => Ok(None),
        Some(name) => {
            let known = views.tenant(name).or_else(|| views.tenants().find(|(_, id, _)| id.to_string() == name).map(|(_, id, _)| id));
            let own = known.filter(|id| caller.principal.is_home || *id == caller.principal.tenant);
            Ok(Some(own.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not-found", "tenant: there is none of that name"))?))
        }
    }
}

/// A plan that is not the one that was looked at.
fn stale() -> Problem {
    Problem::new(StatusCode::CONFLICT, "stale-plan", "what it was about has moved since the preview, or it was applied already: look at a new preview")
}

/// What an apply was refused for: a thing that moved while it was written makes the plan stale.
fn refused(error: VaultError) -> Problem {
    match error {
        VaultError::Refused(Refusal::Conflict { .. }) | VaultError::Submit(crate::log::SubmitError::Busy) => stale(),
        other => other.into(),
    }
}
