//! The page that a `session_uri` opens: a consumer sees and changes its connections there. It is the same for every token: its script reads the token
//! from the address, and nothing of the request stands in what is served. It is a page, no operation, and so not in the OpenAPI document.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::Front;
use super::browser::quiet;
use super::caller::Named;
use super::error::{Problem, unknown_route};

/// The document.
const DOCUMENT: &str = include_str!("page/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// What it is made of: name, type, content.
const ASSETS: [(&str, &str, &str); 10] = [
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("fields.js", SCRIPT, include_str!("page/fields.js")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("list.js", SCRIPT, include_str!("page/list.js")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.js", SCRIPT, include_str!("page/page.js")),
    ("service.js", SCRIPT, include_str!("page/service.js")),
    ("session.js", SCRIPT, include_str!("page/session.js")),
    ("travel.js", SCRIPT, include_str!("page/travel.js")),
    ("words.js", SCRIPT, include_str!("page/words.js")),
];

/// Its routes. Without a token as well: users come back to that address from a service.
pub(super) fn routes() -> Router<Front> {
    Router::new().route("/session", get(show)).route("/session/{token}", get(show)).route("/session/assets/{name}", get(asset))
}

/// What the page may load and who may embed it: this server, and the origins that the operator allows.
fn policy(origins: &[String]) -> HeaderValue {
    const WITHIN: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https:; base-uri 'none'; \
        form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'self'";
    // A host may hold these, and they would end the directive.
    let embedding = origins.iter().filter(|origin| !origin.contains([';', ',']));
    let text = embedding.fold(WITHIN.to_owned(), |text, origin| text + " " + origin);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(WITHIN))
}

async fn show(State(front): State<Front>) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    (quiet(), kind, [(header::CONTENT_SECURITY_POLICY, policy(&front.settings.origins))], DOCUMENT).into_response()
}

async fn asset(Named(name): Named<String>) -> Result<Response, Problem> {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => Ok((quiet(), [(header::CONTENT_TYPE, *kind)], *content).into_response()),
        None => Err(unknown_route().await),
    }
}
