//! The connections surface, as Apideck's own clients speak it (Vault API, specification 10.34.0).

mod caller;
mod consumers;
mod error;
mod handlers;
mod params;
mod render;
mod wire;

use axum::{Router, middleware};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::limited;
use error::Problem;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(handlers::list))
        .routes(routes!(handlers::get, handlers::create, handlers::update, handlers::delete))
        .routes(routes!(handlers::import))
        .routes(routes!(handlers::validate))
        .routes(routes!(handlers::token))
        .routes(routes!(consumers::list, consumers::create))
        .routes(routes!(consumers::get, consumers::update, consumers::delete))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The schema of its errors, by its name.
pub(super) fn error_schema() -> (String, RefOr<Schema>) {
    (error::ErrorBody::name().into_owned(), error::ErrorBody::schema())
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    Router::from(routes())
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
