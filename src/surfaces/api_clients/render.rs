//! Answers as the vendor's clients read them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::credentials::api_client::{ApiClient, State};
use crate::credentials::{AnyState, role};
use crate::kernel::{RoleRef, Secret, StreamId, TenantId, Version};
use crate::views::Views;
use crate::web::caller::etag;

/// Stands in place of a secret.
const MASK: &str = "********";

/// An API client, as the vendor's `ApiClient`.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClient)]
pub(super) struct ClientView {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its secret, or a mask.
    #[schema(example = "********")]
    secret: String,
    /// Shown.
    name: String,
    /// Since when.
    #[schema(format = DateTime)]
    created: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated: String,
    /// Who changed it last.
    updated_by: String,
    /// Who made it.
    author: String,
    /// What it may do.
    roles: Vec<RoleView>,
    /// Its id as an OAuth client.
    #[schema(example = "oauth-6b65796c-6564-6765-722f-726561646572")]
    oauth_client_id: String,
    /// Its secret as an OAuth client, or a mask.
    #[schema(example = "********")]
    oauth_client_secret: String,
}

/// A role that a client has.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClientRole)]
struct RoleView {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// True when it is gone: it permits nothing any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// A page of API clients.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClientPage)]
pub(super) struct ClientPage {
    /// How many there are, on whatever page.
    pub count: usize,
    /// Those of this page.
    pub items: Vec<ClientView>,
}

/// The id of a client that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClientCreated)]
pub(super) struct Created {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
}

/// New secrets, shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClientRotated)]
pub(super) struct Rotated {
    /// The client.
    #[schema(format = "uuid")]
    pub id: String,
    /// Its new secret.
    pub secret: String,
    /// Its id as an OAuth client; it stays.
    pub oauth_client_id: String,
    /// Its new secret as an OAuth client.
    pub oauth_client_secret: String,
}

/// How the id of an OAuth client begins; its API client's id follows.
pub(super) const OAUTH: &str = "oauth-";

/// A client's id as an OAuth client.
pub(super) fn oauth_client_id(id: StreamId) -> String {
    format!("{OAUTH}{}", id.uuid())
}

/// A secret that may be shown.
pub(super) fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// A tenant's client that is there, and where it stands.
pub(super) fn find(views: &Views, tenant: TenantId, id: StreamId) -> Option<(&ApiClient, Version)> {
    let entry = views.thing(id).filter(|entry| entry.tenant == tenant)?;
    match &entry.state {
        AnyState::ApiClient(State::Live(live)) => Some((live, entry.content_version)),
        _ => None,
    }
}

/// A client; its secrets only where they were revealed for this answer.
pub(super) fn client(views: &Views, tenant: TenantId, id: StreamId, live: &ApiClient, revealed: &[Secret]) -> ClientView {
    let mut revealed = revealed.iter().map(text);
    let mut next = || revealed.next().unwrap_or_else(|| MASK.to_owned());
    ClientView {
        id: id.uuid(),
        secret: next(),
        name: live.name.clone(),
        created: live.created_at.to_string(),
        updated: live.updated_at.to_string(),
        updated_by: live.updated_by.uuid(),
        author: live.author.uuid(),
        roles: live.roles.iter().map(|held| role(views, tenant, *held)).collect(),
        oauth_client_id: oauth_client_id(id),
        oauth_client_secret: next(),
    }
}

fn role(views: &Views, tenant: TenantId, held: RoleRef) -> RoleView {
    let id = held.id();
    let gone = || match views.thing(id).map(|entry| &entry.state) {
        Some(AnyState::Role(role::State::Deleted { last, .. })) => last.name.clone(),
        _ => String::new(),
    };
    let there = views.role(tenant, held).map(|(name, _)| name.to_owned());
    RoleView { id: id.uuid(), deleted: there.is_none(), name: there.unwrap_or_else(gone) }
}

/// An answer with the position that it reflects.
pub(super) fn answer(status: StatusCode, views: &Views, body: &impl Serialize) -> Response {
    marked((status, Json(body)).into_response(), views)
}

/// An answer that says no more than that it is done: 200, since the vendor's clients take nothing else.
pub(super) fn done(views: &Views) -> Response {
    marked(StatusCode::OK.into_response(), views)
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
