//! Our own routes; errors are problem details (RFC 9457).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::vault::Vault;
use crate::web::problem::Problem;

/// The table of contents.
pub fn router(vault: Arc<Vault>) -> Router {
    Router::new()
        .route("/v1/health/live", get(live))
        .route("/v1/health/ready", get(ready))
        .route("/v1/{*rest}", any(no_route))
        .method_not_allowed_fallback(no_route)
        .with_state(vault)
}

/// `GET /v1/health/live`: the process answers.
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// `GET /v1/health/ready`: commands are taken; otherwise 503.
async fn ready(State(vault): State<Arc<Vault>>) -> Result<Json<Value>, Problem> {
    match vault.failure() {
        None => Ok(Json(json!({"status": "ready", "position": vault.views().position()}))),
        Some(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the fold has stopped; the log of the process says where")),
    }
}

/// What no route answers, or not by this method.
async fn no_route() -> Problem {
    Problem::no_route()
}
