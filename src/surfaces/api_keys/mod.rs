//! The API keys surface, as Khomp REC documents it.

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::Front;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    Router::from(routes()).with_state(front)
}
