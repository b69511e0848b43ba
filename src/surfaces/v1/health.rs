//! Health: for those who keep the server running.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Front;
use crate::web::problem::Problem;

/// An answer is of now: nothing between keeps it.
const NOW: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always `live`.
    #[schema(example = "live")]
    status: &'static str,
}

/// Commands are taken.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// The last position.
    position: u64,
    /// What needs somebody's attention, although commands are taken: anchors that differ, backups that failed or that are old.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Whether the process answers
#[utoipa::path(get, path = "/v1/health/live", operation_id = "health_live", tag = "Health", security(()), responses((status = 200, body = Live)))]
pub(super) async fn live() -> impl IntoResponse {
    (NOW, Json(Live { status: "live" }))
}

/// Whether commands are taken
#[utoipa::path(get, path = "/v1/health/ready", operation_id = "health_ready", tag = "Health", security(()), responses((status = 200, body = Ready), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn ready(State(Front { vault, .. }): State<Front>) -> Result<impl IntoResponse, Problem> {
    if let Some(cause) = vault.lost() {
        // It names sizes and positions, and nothing else.
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "read-only", format!("no commands are taken: {cause}")));
    }
    match vault.failure() {
        None => Ok((NOW, Json(Ready { status: "ready", position: vault.views().position().0, warnings: warnings(&vault) }))),
        Some(_) if vault.log().trouble().is_some() => Err(not_ready("the log has one copy that can be written; no commands are taken until there are two")),
        Some(_) => Err(not_ready("no commands are taken; the log of the process says why")),
    }
}

fn not_ready(detail: &'static str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
}

fn warnings(vault: &crate::vault::Vault) -> Vec<String> {
    vault.warnings().into_iter().chain(vault.backup_warnings().into_iter().map(str::to_owned)).collect()
}
