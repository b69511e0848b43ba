//! The API keys surface, as Khomp REC documents it (`/api-keys`, read in 2026; the page bears no version).

mod caller;
mod error;
mod filter;
mod handlers;
mod list;
mod params;
mod render;
mod wire;

use axum::routing::any;
use axum::{Router, middleware};
use utoipa::openapi::{Components, OpenApi};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::limited;
use error::{ErrorBody, Problem, unknown_route};

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new().routes(routes!(handlers::list, handlers::create)).routes(routes!(handlers::get, handlers::update, handlers::delete))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    let mut document = routes().into_openapi();
    let schemas = &mut document.components.get_or_insert_with(Components::new).schemas;
    schemas.insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    document
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    Router::from(routes())
        .route("/api-keys/", any(unknown_route))
        .route("/api-keys/{id}/", any(unknown_route))
        .route("/api-keys/{id}/{*rest}", any(unknown_route))
        .method_not_allowed_fallback(unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
