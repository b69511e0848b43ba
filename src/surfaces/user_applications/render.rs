//! Answers as the vendor's clients read them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use crate::credentials::user_application::{State, UserApplication};
use crate::credentials::{AnyState, user};
use crate::kernel::{Secret, StreamId, TenantId, Version};
use crate::views::Views;
use crate::web::caller::etag;

/// An application of the caller's, as the vendor's `UserApp`.
#[derive(Serialize, ToSchema)]
#[schema(as = UserApplication)]
pub(super) struct ApplicationView {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// The same.
    #[schema(rename = "clientId", format = "uuid")]
    #[serde(rename = "clientId")]
    client_id: String,
    /// Its name; unique among its user's.
    name: String,
    /// Since when.
    #[schema(format = DateTime)]
    #[serde(rename = "createdAt")]
    created_at: String,
    /// When its present secret was last exchanged for a token; null before that.
    #[schema(format = DateTime)]
    #[serde(rename = "lastLogin")]
    last_login: Option<String>,
}

/// An application of any user, as the vendor's `UserAppAdministration`.
#[derive(Serialize, ToSchema)]
#[schema(as = UserApplicationOfUser)]
pub(super) struct OfUser {
    #[serde(flatten)]
    application: ApplicationView,
    /// Whose it is: the user's e-mail address, or login where there is none.
    #[serde(rename = "createdBy")]
    pub created_by: String,
}

/// An application that was made, and its secret, shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = UserApplicationCreated)]
pub(super) struct Made {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
    /// The same.
    #[schema(format = "uuid")]
    #[serde(rename = "clientId")]
    pub client_id: String,
    /// Its name.
    pub name: String,
    /// Its secret.
    pub secret: String,
    /// Since when.
    #[schema(format = DateTime)]
    #[serde(rename = "createdAt")]
    pub created_at: String,
}

/// A new secret, shown once, under both names that the vendor gave it.
#[derive(Serialize, ToSchema)]
#[schema(as = UserApplicationSecret)]
pub(super) struct Regenerated {
    /// The secret.
    pub secret: String,
    /// The same.
    #[serde(rename = "clientSecret")]
    pub client_secret: String,
}

/// A secret that may be shown.
pub(super) fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// A tenant's application that is there, and where it stands.
pub(super) fn find(views: &Views, tenant: TenantId, id: StreamId) -> Option<(&UserApplication, Version)> {
    let entry = views.thing(id).filter(|entry| entry.tenant == tenant)?;
    match &entry.state {
        AnyState::UserApplication(State::Live(live)) => Some((live, entry.content_version)),
        _ => None,
    }
}

/// An application. Uses that are not written yet count at present, and not for a look at the past.
pub(super) fn application(caller: &Caller, views: &Views, id: StreamId, live: &UserApplication) -> ApplicationView {
    let tenant = caller.principal.tenant;
    let used = |secret| if caller.asks_for_the_past() { views.used(tenant, secret) } else { caller.vault.last_used(views, tenant, secret) };
    let last = live.issued.ever().filter_map(used).map(|used| used.last).max();
    ApplicationView {
        id: id.uuid(),
        client_id: id.uuid(),
        name: live.name.clone(),
        created_at: live.created_at.to_string(),
        last_login: last.map(|at| at.to_string()),
    }
}

/// An application, with its user.
pub(super) fn of_user(caller: &Caller, views: &Views, id: StreamId, live: &UserApplication) -> OfUser {
    let user = match views.thing(live.user).map(|entry| &entry.state) {
        Some(AnyState::User(user::State::Live(user) | user::State::Deleted { last: user, .. })) => Some(&user.profile),
        _ => None,
    };
    let created_by = user.map(|user| user.email.clone().unwrap_or_else(|| user.login.clone())).unwrap_or_default();
    OfUser { application: application(caller, views, id, live), created_by }
}

/// An answer with the position that it reflects.
pub(super) fn answer(status: StatusCode, views: &Views, body: &impl Serialize) -> Response {
    marked((status, Json(body)).into_response(), views)
}

/// 204 and nothing else.
pub(super) fn gone(views: &Views) -> Response {
    marked(StatusCode::NO_CONTENT.into_response(), views)
}

fn marked(mut response: Response, views: &Views) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(views.position().0));
    response
}

/// The same with the tag of a version.
pub(super) fn tagged(mut response: Response, version: Version) -> Response {
    response.headers_mut().insert(header::ETAG, etag(version));
    response
}
