//! Our own routes; errors are problem details (RFC 9457).

mod caller;
mod connectors;
mod credentials;
mod events;
mod health;
mod log;
mod secrets;

use std::sync::Arc;

use axum::routing::{any, get};
use axum::{Router, middleware};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::limited;
use crate::web::problem::Problem;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(events::list))
        .routes(routes!(events::get))
        .routes(routes!(credentials::list))
        .routes(routes!(credentials::get))
        .routes(routes!(credentials::history))
        .routes(routes!(credentials::rotation::rotate))
        .routes(routes!(credentials::rotation::finish))
        .routes(routes!(credentials::rotation::take_back))
        .routes(routes!(secrets::reveal))
        .routes(routes!(connectors::list))
        .routes(routes!(connectors::get, connectors::put))
        .routes(routes!(log::state))
        .routes(routes!(log::confirm_clock))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The surface over a vault.
pub(super) fn router(front: Front, document: Arc<str>) -> Router {
    Router::from(routes())
        .route("/openapi.json", get(move || std::future::ready(super::openapi::answer(&document))))
        .route("/v1", any(no_route))
        .route("/v1/", any(no_route))
        .route("/v1/{*rest}", any(no_route))
        .method_not_allowed_fallback(no_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}

/// What no route answers, or not by this method.
async fn no_route() -> Problem {
    Problem::no_route()
}
