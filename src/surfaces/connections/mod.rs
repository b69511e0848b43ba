//! The connections surface, as Apideck's own clients speak it (Vault API, specification 10.34.0).

mod browser;
mod caller;
mod config;
mod confirmation;
mod consent;
mod consumers;
mod error;
mod handlers;
mod logs;
mod page;
mod params;
mod proxy;
mod render;
mod sessions;
mod wire;

use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use axum::{Router, middleware};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::web::front::{limited, limited_to};
use crate::web::limits::PROXY_TIMEOUT;
use error::Problem;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(handlers::list))
        .routes(routes!(handlers::get, handlers::create, handlers::update, handlers::delete))
        .routes(routes!(handlers::import))
        .routes(routes!(handlers::validate))
        .routes(routes!(handlers::token))
        .routes(routes!(confirmation::confirm))
        .routes(routes!(confirmation::callback_state))
        .routes(routes!(consent::list, consent::update))
        .routes(routes!(config::get, config::update))
        .routes(routes!(browser::authorize))
        .routes(routes!(browser::callback))
        .routes(routes!(browser::revoke))
        .routes(routes!(sessions::create))
        .routes(routes!(logs::list))
        .routes(routes!(consumers::list, consumers::create))
        .routes(routes!(consumers::get, consumers::update, consumers::delete))
}

/// Which pages may call from a browser: those of this machine, and of the origins that the operator allows. No cookie goes along.
fn pages(front: &Front) -> CorsLayer {
    let allowed = front.settings.origins.clone();
    let origin = AllowOrigin::predicate(move |origin: &HeaderValue, _| {
        let text = origin.to_str().unwrap_or_default();
        let name = text.split_once("://").map_or("", |(_, rest)| rest);
        let host = if name.starts_with('[') { name.split(']').next().unwrap_or_default() } else { name.split(':').next().unwrap_or_default() };
        ["localhost", "127.0.0.1", "[::1"].contains(&host) || allowed.iter().any(|allowed| allowed == text)
    });
    let named = ["authorization", "content-type", "idempotency-key", "if-match", "x-apideck-app-id", "x-apideck-consumer-id", "x-apideck-auth-type"];
    let shown = ["etag", "keyledger-position"];
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(named.map(HeaderName::from_static))
        .expose_headers(shown.map(HeaderName::from_static))
        .max_age(std::time::Duration::from_secs(600))
}

/// Nothing about pages, where no page was let in.
async fn quietly(mut response: Response) -> Response {
    if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        let headers = response.headers_mut();
        for name in
            [header::ACCESS_CONTROL_EXPOSE_HEADERS, header::ACCESS_CONTROL_ALLOW_METHODS, header::ACCESS_CONTROL_ALLOW_HEADERS, header::ACCESS_CONTROL_MAX_AGE]
        {
            headers.remove(name);
        }
    }
    response
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().merge(proxy::routes()).into_openapi()
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
        .layer(pages(&front))
        .layer(middleware::map_response(quietly))
        .merge(
            Router::from(proxy::routes())
                .method_not_allowed_fallback(error::unknown_route)
                .layer(middleware::from_fn(|request, next| limited_to(PROXY_TIMEOUT, request, next, Problem::from, Problem::late))),
        )
        .merge(
            page::routes()
                .method_not_allowed_fallback(error::unknown_route)
                .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late))),
        )
        .with_state(front)
}
