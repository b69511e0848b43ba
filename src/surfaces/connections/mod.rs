//! The connections surface, as Apideck's own clients speak it (Vault API, specification 10.34.0).

mod caller;
mod consumers;
mod error;
mod handlers;
mod render;
mod wire;

use axum::routing::{get, post};
use axum::{Router, middleware};

use super::Front;
use crate::web::front::limited;
use error::Problem;

/// The table of contents.
pub fn router(front: Front) -> Router {
    Router::new()
        .route("/vault/connections", get(handlers::list))
        .route("/vault/connections/{unified_api}/{service_id}", get(handlers::get).post(handlers::update).patch(handlers::update).delete(handlers::delete))
        .route("/vault/connections/{unified_api}/{service_id}/import", post(handlers::import))
        .route("/vault/connections/{unified_api}/{service_id}/validate", post(handlers::validate))
        .route("/vault/connections/{unified_api}/{service_id}/token", post(handlers::token))
        .route("/vault/consumers", get(consumers::list).post(consumers::create))
        .route("/vault/consumers/{consumer_id}", get(consumers::get).patch(consumers::update).delete(consumers::delete))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
