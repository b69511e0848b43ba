//! The OpenAPI document, generated from the handlers. `schema/openapi.json` is its checked-in copy.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, Paths};
use utoipa::{PartialSchema, ToSchema};

use super::{api_clients, api_keys, connections, provider_keys, user_applications, v1};
use crate::web::problem::Problem;

/// The document, as indented JSON with a line break at its end.
#[must_use]
pub fn document() -> String {
    let info = Info::builder().title("keyledger").version(env!("CARGO_PKG_VERSION")).description(Some(
        "An event-sourced credential vault. `/vault` speaks Apideck's Vault API, `/external_provider` that of Pieces, `/api-keys` that of Khomp REC, \
         `/local-user-store` and `/auth` that of SSH PrivX, `/api/v1` that of NVIDIA Run:ai; `/v1` is the vault's own, with RFC 9457 problems. \
         Answers bear `Keyledger-Position`, the position that they reflect.",
    ));
    let license = License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let mut whole = OpenApi::new(info.license(Some(license)).build(), Paths::new());
    whole.merge(v1::openapi());
    whole.merge(connections::openapi());
    whole.merge(provider_keys::openapi());
    whole.merge(api_keys::openapi());
    whole.merge(api_clients::openapi());
    whole.merge(user_applications::openapi());
    let components = whole.components.get_or_insert_with(Components::new);
    // What the shared errors of each surface refer to.
    let mut errors = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut errors);
    errors.push(connections::error_schema());
    errors.push(v1::oauth_error_schema());
    errors.extend(api_clients::error_schemas());
    errors.extend(user_applications::error_schemas());
    components.schemas.extend(errors);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of this vault")).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    whole.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    let mut text = whole.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /openapi.json`: open to all; it holds nothing of the vault.
pub(super) fn answer(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}
