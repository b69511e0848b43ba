//! Our own routes; errors are problem details (RFC 9457).

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use super::Front;
use crate::web::front::limited;
use crate::web::problem::Problem;

/// The table of contents.
pub fn router(front: Front) -> Router {
    Router::new()
        .route("/v1/health/live", get(live))
        .route("/v1/health/ready", get(ready))
        .route("/v1/{*rest}", any(no_route))
        .method_not_allowed_fallback(no_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}

/// `GET /v1/health/live`: the process answers.
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// `GET /v1/health/ready`: commands are taken; otherwise 503.
async fn ready(State(Front { vault, .. }): State<Front>) -> Result<Json<Value>, Problem> {
    match vault.failure() {
        None => Ok(Json(json!({"status": "ready", "position": vault.views().position()}))),
        Some(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the fold has stopped; the log of the process says where")),
    }
}

/// What no route answers, or not by this method.
async fn no_route() -> Problem {
    Problem::no_route()
}
