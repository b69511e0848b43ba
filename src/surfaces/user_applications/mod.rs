//! The user applications surface, as NVIDIA Run:ai's own clients speak it (control plane 2.20), and its token endpoint.

mod administration;
mod caller;
mod error;
mod handlers;
mod params;
mod render;
mod token;
mod token_request;

use axum::routing::any;
use axum::{Router, middleware};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::limited;
use error::{ErrorBody, Problem, unknown_route};

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(handlers::list, handlers::create))
        .routes(routes!(handlers::get, handlers::delete))
        .routes(routes!(handlers::regenerate))
        .routes(routes!(administration::list))
        .routes(routes!(administration::delete))
        .routes(routes!(token::grant))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The schemas of its errors, by their names.
pub(super) fn error_schemas() -> Vec<(String, RefOr<Schema>)> {
    vec![(ErrorBody::name().into_owned(), ErrorBody::schema())]
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    ["/api", "/api/", "/api/{*rest}"]
        .into_iter()
        .fold(Router::from(routes()), |router, path| router.route(path, any(unknown_route)))
        .method_not_allowed_fallback(unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
