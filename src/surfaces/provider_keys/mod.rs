//! The provider keys surface, as Pieces' own clients speak it (`ExternalProvider` API, pieces-os-client 5.0.1).

mod caller;
mod error;
mod handlers;
mod params;
mod render;
mod wire;

use axum::routing::any;
use axum::{Router, middleware};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::limited;
use error::{Problem, unknown_route};

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new().routes(routes!(handlers::create)).routes(routes!(handlers::update)).routes(routes!(handlers::delete))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    Router::from(routes())
        .route("/external_provider", any(unknown_route))
        .route("/external_provider/", any(unknown_route))
        .route("/external_provider/{*rest}", any(unknown_route))
        .method_not_allowed_fallback(unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
