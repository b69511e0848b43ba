//! The API clients surface, as SSH PrivX's own clients speak it (`local-user-store`), and its token endpoints.

mod caller;
mod error;
mod handlers;
mod lists;
mod params;
mod render;
mod token_error;
mod tokens;
mod wire;

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
use token_error::TokenErrorBody;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(lists::list, handlers::create))
        .routes(routes!(lists::search))
        .routes(routes!(handlers::get, handlers::update, handlers::delete))
        .routes(routes!(handlers::rotate))
        .routes(routes!(tokens::grant))
        .routes(routes!(tokens::client_credentials))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The schemas of its errors, by their names.
pub(super) fn error_schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema()), (TokenErrorBody::name().into_owned(), TokenErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    schemas
}

/// The surface over a vault.
pub(super) fn router(front: Front) -> Router {
    let below = ["/local-user-store", "/local-user-store/", "/local-user-store/{*rest}", "/auth", "/auth/", "/auth/{*rest}"];
    below
        .into_iter()
        .fold(Router::from(routes()), |router, path| router.route(path, any(unknown_route)))
        .method_not_allowed_fallback(unknown_route)
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .with_state(front)
}
