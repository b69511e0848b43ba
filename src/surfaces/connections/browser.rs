//! What browsers are sent to: the way to a service, the way back, and revocation. There is no token: a link carries its proof, and the way back is
//! known by its state and by the browser that went.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64UrlUnpadded, Encoding};
use subtle::ConstantTimeEq;
use url::form_urlencoded::{Serializer, parse};
use url::{Host, Url};

use super::super::Front;
use super::super::call::meta_of;
use super::caller::Named;
use super::error::{Errors, Problem};
use crate::credentials::Meta;
use crate::credentials::connection::{FLOW_SECONDS, Flow, Key};
use crate::kernel::{FlowId, Permission, Refusal, Secret};
use crate::oauth::{Begin, Landed};
use crate::vault::access::{Principal, Resource};

/// The longest code of a service, in bytes.
const MAX_CODE: usize = 4096;
/// The longest part of a service's description of an error that is passed on.
const MAX_DESCRIPTION: usize = 200;

/// Service and application.
type Target = Named<(String, String)>;

/// The query of a request without a token.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(parts: &Parts) -> Self {
        Self(parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// A parameter that is given once and is not empty.
    fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Problem::invalid(format!("{name}: is given twice"))),
            (value, _) => Ok(value.filter(|value| !value.is_empty())),
        }
    }
}

/// Where a user may be sent back to: pages of this machine, of this server, and of the origins that the operator allows.
pub(super) fn redirect(front: &Front, text: Option<&str>) -> Result<Option<Url>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let url = Url::parse(text).map_err(|_| Problem::invalid("redirect_uri: is no URL"))?;
    let own = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let origin = url.origin().ascii_serialization();
    let allowed = own || origin == front.exchanges.public_url() || front.settings.origins.contains(&origin);
    let plain = ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none();
    if allowed && plain {
        return Ok(Some(url));
    }
    Err(Problem::invalid("redirect_uri: is at an origin that the operator of this vault does not allow (serve --allow-origin)"))
}

/// An answer that sends the browser on. 301 as the vendor has it, and kept by nobody.
fn send_to(url: &str) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(url).map_err(|_| Problem::invalid("the URL to go to cannot be written in a header"))?;
    Ok((StatusCode::MOVED_PERMANENTLY, quiet(), [(header::LOCATION, location)]).into_response())
}

/// What every answer to a browser says: it is kept by nobody, and the next page learns nothing of this one.
pub(super) fn quiet() -> [(header::HeaderName, HeaderValue); 3] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

/// Tells a page of an error in its query, as the vendor does; without a page, as any error is told.
fn fail(to: Option<Url>, service: &str, problem: Problem) -> Response {
    let Some(mut url) = to else { return problem.into_response() };
    url.query_pairs_mut().append_pair("error_type", problem.name()).append_pair("error_message", &problem.text()).append_pair("service_id", service);
    send_to(url.as_str()).unwrap_or_else(IntoResponse::into_response)
}

/// The end of the way, for a browser that is sent nowhere. The words hold nothing of the request.
fn page(words: &str) -> Response {
    let body = format!("<!doctype html><meta charset=utf-8><title>keyledger</title><p>{words} You can close this window.");
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'")];
    (StatusCode::OK, quiet(), kind, body).into_response()
}

/// Who made a link, for which connection, and by which rule it is let through.
fn linked(front: &Front, parts: &Parts, state: Option<&str>, service: &str, app: &str) -> Result<(Principal, Key, Meta), Problem> {
    let state = state.ok_or_else(|| Problem::invalid("state: is required"))?;
    let (principal, key) = front.vault.open_link(state).map_err(|_| Problem::unauthorized())?;
    if key.service_id != service || key.app != app {
        return Err(Problem::unauthorized());
    }
    let resource = Resource { tenant: principal.tenant, app: Some(&key.app) };
    let rule = front.vault.may(&principal, Permission::ConnectionsExchange, resource)?.to_owned();
    let meta = meta_of(parts, &format!("{rule}, link"));
    Ok((principal, key, meta))
}

/// Authorize a connection
///
/// For browsers: the `authorize_url` of a connection leads here. Sends the user on to the service.
#[utoipa::path(get, path = "/vault/authorize/{service_id}/{application_id}", operation_id = "authorize", tag = "Authorization", security(()), params(("service_id" = String, Path, example = "pipedrive"), ("application_id" = String, Path, example = "demo"), ("state" = String, Query, description = "The signed state of the `authorize_url`"), ("redirect_uri" = Option<String>, Query, description = "Where the user is sent in the end"), ("scope" = Option<String>, Query, description = "Scopes instead of the connector's own, apart by blanks"), ("nonce" = Option<String>, Query, description = "Given back in the fragment of the last redirect; the connection then waits for `confirm`")), responses((status = 301, description = "To the service; or, with `error_type`, `error_message` and `service_id` in the query, to `redirect_uri`"), Errors))]
pub(super) async fn authorize(State(front): State<Front>, Named((service, app)): Target, parts: Parts) -> Result<Response, Problem> {
    let query = Query::of(&parts);
    let back = redirect(&front, query.get("redirect_uri")?)?;
    let begin =
        Begin { redirect_uri: back.as_ref().map(Url::to_string), nonce: query.get("nonce")?.map(str::to_owned), scope: query.get("scope")?.map(str::to_owned) };
    let (principal, key, meta) = match linked(&front, &parts, query.get("state")?, &service, &app) {
        Ok(linked) => linked,
        Err(problem) => return Ok(fail(back, &service, problem)),
    };
    match front.exchanges.begin(&principal, meta, &key, begin).await {
        Ok(sent) => {
            let mut response = send_to(&sent.url)?;
            let secure = if front.exchanges.public_url().starts_with("https:") { "; Secure" } else { "" };
            let (name, value) = (cookie_name(sent.flow), Base64UrlUnpadded::encode_string(&front.vault.browser(sent.flow)));
            let cookie = format!("{name}={value}; Path=/vault/callback; Max-Age={FLOW_SECONDS}; HttpOnly; SameSite=Lax{secure}");
            response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).map_err(|_| Problem::invalid("state: is malformed"))?);
            Ok(response)
        }
        Err(error) => Ok(fail(back, &service, error.into())),
    }
}

fn cookie_name(flow: FlowId) -> String {
    format!("keyledger_{}", flow.to_string().chars().take(16).collect::<String>())
}

/// Whether the browser is the one that began: it shows what it was given.
fn is_the_same(front: &Front, headers: &HeaderMap, flow: FlowId) -> bool {
    let (name, expected) = (cookie_name(flow), Base64UrlUnpadded::encode_string(&front.vault.browser(flow)));
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let shown = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(other, _)| *other == name);
    shown.is_some_and(|(_, value)| value.as_bytes().ct_eq(expected.as_bytes()).into())
}

/// Come back from a service
///
/// For browsers: services send users here. Exchanges the code, once, and sends the user on.
#[utoipa::path(get, path = "/vault/callback", operation_id = "callback", tag = "Authorization", security(()), params(("state" = String, Query, description = "What the service was given"), ("code" = Option<String>, Query, description = "What it gives in return"), ("error" = Option<String>, Query, example = "access_denied"), ("error_description" = Option<String>, Query)), responses((status = 200, description = "Done; there is no page to go back to"), (status = 301, description = "Back to the page that began; with `#nonce=…&confirm_token=…&service_id=…` where it gave a nonce, and with `error_type`, `error_message` and `service_id` in the query when nothing came of it"), Errors))]
pub(super) async fn callback(State(front): State<Front>, parts: Parts) -> Result<Response, Problem> {
    let query = Query::of(&parts);
    let state = query.get("state")?.and_then(FlowId::of_state).ok_or_else(|| Problem::invalid("state: is missing, or not one of this vault"))?;
    let closed = || Problem::from(Refusal::InvalidState("this authorization is not open (any more): begin it anew".into()));
    let (connection, flow) = front.exchanges.pending(state).ok_or_else(closed)?;
    if flow.here && !is_the_same(&front, &parts.headers, state) {
        return Err(Problem::invalid("this browser is not the one that began the authorization, or it keeps no cookies: begin it anew"));
    }
    let meta = meta_of(&parts, "callback");
    let (code, error) = (query.get("code")?, query.get("error")?);
    let service = service_of(&front, connection);
    let back = flow.redirect_uri.as_deref().and_then(|uri| Url::parse(uri).ok());
    let Some(code) = code.filter(|code| error.is_none() && code.len() <= MAX_CODE) else {
        let known = error.filter(|error| error.len() <= 64 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).unwrap_or("no code came");
        front.exchanges.refuse(connection, state, known.to_owned(), meta).await?;
        let told: String = query.get("error_description")?.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION).collect();
        let words = if told.is_empty() { known.to_owned() } else { format!("{known}: {told}") };
        return Ok(fail(back, &service, Problem::exchange_failed(words, None)));
    };
    let landed = front.exchanges.redeem(connection, state, Secret::from(code), meta).await;
    let mut response = match landed {
        Landed::Stored { confirm } => done(back, &flow, confirm.as_deref(), &service)?,
        Landed::Failed { cause, status } => fail(back, &service, Problem::exchange_failed(cause, status)),
        Landed::Vault(error) => fail(back, &service, Problem::from(&*error)),
    };
    let cookie = format!("{}=; Path=/vault/callback; Max-Age=0; HttpOnly; SameSite=Lax", cookie_name(state));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn service_of(front: &Front, connection: crate::kernel::StreamId) -> String {
    use crate::credentials::{AnyState, connection::State};
    match front.vault.views().thing(connection).map(|entry| &entry.state) {
        Some(AnyState::Connection(State::Live(live))) => live.key.service_id.clone(),
        _ => String::new(),
    }
}

fn done(back: Option<Url>, flow: &Flow, confirm: Option<&Secret>, service: &str) -> Result<Response, Problem> {
    let Some(mut url) = back else { return Ok(page("The connection is authorized.")) };
    if let (Some(nonce), Some(confirm)) = (&flow.nonce, confirm) {
        let mut fragment = Serializer::new(String::new());
        fragment.append_pair("nonce", nonce).append_pair("confirm_token", &String::from_utf8_lossy(confirm.expose())).append_pair("service_id", service);
        url.set_fragment(Some(&fragment.finish()));
    }
    send_to(url.as_str())
}

/// Revoke a connection
///
/// For browsers: the `revoke_url` of a connection leads here. Removes its tokens, tells the service, and sends the user on.
#[utoipa::path(get, path = "/vault/revoke/{service_id}/{application_id}", operation_id = "revoke", tag = "Authorization", security(()), params(("service_id" = String, Path, example = "pipedrive"), ("application_id" = String, Path, example = "demo"), ("state" = String, Query, description = "The signed state of the `revoke_url`"), ("redirect_uri" = Option<String>, Query, description = "Where the user is sent in the end")), responses((status = 200, description = "Done; there is no page to go back to"), (status = 301, description = "To `redirect_uri`; with `error_type`, `error_message` and `service_id` in the query when nothing came of it"), Errors))]
pub(super) async fn revoke(State(front): State<Front>, Named((service, app)): Target, parts: Parts) -> Result<Response, Problem> {
    let query = Query::of(&parts);
    let back = redirect(&front, query.get("redirect_uri")?)?;
    let revoked = async {
        let (principal, key, meta) = linked(&front, &parts, query.get("state")?, &service, &app)?;
        let connection = front.vault.views().connection(principal.tenant, &key).ok_or(Refusal::NotFound)?;
        Ok::<_, Problem>(front.exchanges.revoke(&principal, meta, connection).await?)
    };
    match (revoked.await, back) {
        (Err(problem), back) => Ok(fail(back, &service, problem)),
        (Ok(_), Some(url)) => send_to(url.as_str()),
        (Ok(_), None) => Ok(page("The connection is revoked.")),
    }
}
