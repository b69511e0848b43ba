//! Our own routes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::vault::Vault;

/// The table of contents.
pub fn router(vault: Arc<Vault>) -> Router {
    Router::new().route("/v1/health/live", get(live)).route("/v1/health/ready", get(ready)).with_state(vault)
}

/// `GET /v1/health/live`: the process answers.
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// `GET /v1/health/ready`: commands are taken; otherwise 503.
async fn ready(State(vault): State<Arc<Vault>>) -> (StatusCode, Json<Value>) {
    match vault.failure() {
        None => (StatusCode::OK, Json(json!({"status": "ready", "position": vault.views().position()}))),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "stopped", "detail": "the fold has stopped; the log of the process says where"}))),
    }
}
