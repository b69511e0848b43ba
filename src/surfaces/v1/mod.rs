//! Our own routes; errors are problem details (RFC 9457).

mod api_keys;
mod applications;
mod caller;
mod connectors;
mod credentials;
mod dead_letters;
mod events;
mod exposure;
mod health;
mod integrations;
mod keyring;
mod keys;
mod lineage;
mod listing;
mod log;
mod me;
mod oauth;
mod organizations;
mod proofs;
mod proxy;
mod roles;
mod secrets;
mod sessions;
mod shred;
mod tenant_end;
mod tenants;
mod time;
mod users;
mod webhooks;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Front;
use crate::credentials::To;
use crate::kernel::{Refusal, Secret};
use crate::vault::Answer;
use crate::web::front::{limited, limited_to, peer};
use crate::web::limits::{PROXY_TIMEOUT, RECOVERY_TIMEOUT};
use crate::web::problem::Problem;

/// The table of contents.
fn routes() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(events::list))
        .routes(routes!(events::get))
        .routes(routes!(events::export))
        .routes(routes!(events::stream))
        .routes(routes!(credentials::list))
        .routes(routes!(credentials::get))
        .routes(routes!(credentials::history))
        .routes(routes!(exposure::get))
        .routes(routes!(credentials::rotation::rotate))
        .routes(routes!(credentials::rotation::finish))
        .routes(routes!(credentials::rotation::take_back))
        .routes(routes!(secrets::reveal))
        .routes(routes!(connectors::list))
        .routes(routes!(connectors::get, connectors::put))
        .routes(routes!(integrations::list))
        .routes(routes!(integrations::get, integrations::put, integrations::update, integrations::delete))
        .routes(routes!(integrations::history))
        .routes(routes!(me::me))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::end))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::get, users::update, users::delete))
        .routes(routes!(users::history))
        .routes(routes!(roles::history))
        .routes(routes!(organizations::history))
        .routes(routes!(users::password))
        .routes(routes!(users::sign_out))
        .routes(routes!(users::unlock))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::get, roles::update, roles::delete))
        .routes(routes!(organizations::list, organizations::create))
        .routes(routes!(organizations::get, organizations::update, organizations::delete))
        .routes(routes!(applications::list, applications::create))
        .routes(routes!(applications::get, applications::update, applications::delete))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::get, api_keys::update, api_keys::delete))
        .routes(routes!(keys::verify))
        .routes(routes!(oauth::token))
        .routes(routes!(oauth::introspect))
        .routes(routes!(oauth::revoke))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::get, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::history))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::dead))
        .routes(routes!(webhooks::replay))
        .routes(routes!(webhooks::test))
        .routes(routes!(log::state))
        .routes(routes!(log::confirm_clock))
        .routes(routes!(log::resume))
        .routes(routes!(proofs::checkpoint))
        .routes(routes!(proofs::key))
        .routes(routes!(proofs::inclusion))
        .routes(routes!(proofs::consistency))
        .routes(routes!(proofs::leaves))
        .routes(routes!(lineage::tokens))
        .merge(time::routes())
        .merge(operated())
}

/// Tenants, and keys that rotate and die.
fn operated() -> OpenApiRouter<Front> {
    OpenApiRouter::new()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get))
        .routes(routes!(tenants::suspend))
        .routes(routes!(tenants::resume))
        .routes(routes!(keyring::get))
        .routes(routes!(keyring::rotate))
        .routes(routes!(tenant_end::request))
        .routes(routes!(tenant_end::approve))
        .routes(routes!(tenant_end::cancel))
        .routes(routes!(shred::shred))
}

/// The surface's part of the OpenAPI document.
pub(super) fn openapi() -> OpenApi {
    routes().merge(proxy::routes()).merge(time::recovery::slow_routes()).into_openapi()
}

/// The schema of the token endpoints' errors, by its name.
pub(super) fn oauth_error_schema() -> (String, RefOr<Schema>) {
    (oauth::OauthError::name().into_owned(), oauth::OauthError::schema())
}

/// The surface over a vault.
pub(super) fn router(front: Front, document: Arc<str>) -> Router {
    Router::from(routes())
        .route("/openapi.json", get(move || std::future::ready(super::openapi::answer(&document))))
        .route("/v1", any(no_route))
        .route("/v1/", any(no_route))
        .route("/v1/{*rest}", any(no_route))
        .method_not_allowed_fallback(no_route)
        .layer(Extension(events::Seats::default()))
        .layer(middleware::from_fn(|request, next| limited(request, next, Problem::from, Problem::late)))
        .merge(
            Router::from(proxy::routes())
                .method_not_allowed_fallback(no_route)
                .layer(middleware::from_fn(|request, next| limited_to(PROXY_TIMEOUT, request, next, Problem::from, Problem::late))),
        )
        .merge(
            Router::from(time::recovery::slow_routes())
                .method_not_allowed_fallback(no_route)
                .layer(middleware::from_fn(|request, next| limited_to(RECOVERY_TIMEOUT, request, next, Problem::from, Problem::late))),
        )
        .with_state(front)
}

/// The address at the other end of the connection, for routes that need no token.
struct Peer(Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(peer(&parts.extensions)))
    }
}

/// A member that may be absent, or `null` to take what it says away.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<To<T>>, D::Error> {
    Option::deserialize(from).map(|to| Some(To { to }))
}

/// A secret that is shown once, as text.
fn text(secret: Option<&Secret>) -> Result<String, Refusal> {
    secret.map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()).ok_or(Refusal::NotFound)
}

/// The answer to a command that leaves nothing to show.
fn gone(done: &Answer) -> Response {
    let position = [("keyledger-position", done.views.position().to_string())];
    (StatusCode::NO_CONTENT, position, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

/// What no route answers, or not by this method.
async fn no_route() -> Problem {
    Problem::no_route()
}
