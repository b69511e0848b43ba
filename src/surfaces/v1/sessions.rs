//! Sessions: users that logged in.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, answer};
use super::listing::find;
use super::{Front, Peer, gone};
use crate::credentials::session::{self, Session};
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Refusal, Secret, StreamId};
use crate::vault::{Rejected, SESSION_SECONDS, plans};
use crate::web::body::read_json;
use crate::web::caller::meta;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the members are named on the wire")]
pub(super) struct Login {
    /// The tenant's name; `default` when absent.
    #[serde(default = "first_tenant")]
    #[schema(example = "default")]
    tenant: String,
    /// The user's login, in any letter case.
    #[schema(example = "ann")]
    login: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// How long the session lives, in seconds: 60 to 604,800; 43,200 (12 hours) when absent.
    seconds: Option<u64>,
}

/// A session that has begun, with its token, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewSession {
    /// Its id.
    id: String,
    /// Present it as `Authorization: Bearer`.
    token: String,
    /// Whose it is.
    user: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    /// Its id.
    id: String,
    /// Whose it is.
    user: String,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Its latest use.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    /// Whether it is the caller's own.
    current: bool,
}

/// Sessions of one user.
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    /// In the order in which they began.
    data: Vec<SessionView>,
    /// The position that the answer reflects.
    position: u64,
}

/// Whose sessions.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Whose {
    /// The user's id; the caller's own user when absent.
    user: Option<String>,
}

fn first_tenant() -> String {
    "default".into()
}

/// Log in
///
/// Wrong logins and passwords are refused alike. After the fourth different wrong password in a row a login waits 2 seconds, then 4, 8, …
/// and from the tenth on 15 minutes each time, whether it exists or not.
#[utoipa::path(post, path = "/v1/sessions", operation_id = "sessions_create", tag = "Sessions", security(()), request_body = Login, responses((status = 201, body = NewSession), Errors))]
pub(super) async fn create(State(front): State<Front>, Peer(ip): Peer, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let login: Login = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let seconds = login.seconds.unwrap_or(SESSION_SECONDS.0);
    if !(60..=SESSION_SECONDS.1).contains(&seconds) {
        return Err(Refusal::invalid("seconds", format!("takes 60 to {}", SESSION_SECONDS.1)).into());
    }
    let began = front.vault.log_in(&login.tenant, &login.login, &login.password, seconds, meta(&headers, ip, "password")).await;
    let began = began.map_err(|rejected| match rejected {
        Rejected::Wrong => Problem::new(StatusCode::UNAUTHORIZED, "wrong-login", "login or password is wrong"),
        Rejected::Locked(locked) => Problem::locked(locked.seconds),
        Rejected::Vault(error) => error.into(),
    })?;
    let shown = NewSession {
        id: began.id.to_string(),
        token: String::from_utf8_lossy(began.token.expose()).into_owned(),
        user: began.user.to_string(),
        expires_at: began.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, answer(front.vault.views().position(), &shown)).into_response())
}

/// List sessions
///
/// Those of the caller's user that have not ended; somebody else's need `users:read`.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "sessions_list", tag = "Sessions", params(Whose, super::log::AsOfParams), responses((status = 200, body = Sessions), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    let params = caller.params(&["user"])?;
    let user = match params.get("user") {
        Some(text) if caller.principal.user.is_none_or(|own| own.to_string() != text) => {
            caller.may(Permission::UsersRead)?;
            text.parse().map_err(|_| Refusal::NotFound)?
        }
        _ => caller.principal.user.ok_or(Refusal::NotFound)?,
    };
    let views = caller.views(&params).await?;
    let past = params.get("as_of").is_some();
    let now = if past { views.recorded_at() } else { caller.vault.time(&views) };
    let (_, entry) = find(&views, caller.principal.tenant, &user.to_string(), Kind::User)?;
    let signed_out = match &entry.state {
        AnyState::User(crate::credentials::user::State::Live(user)) => user.signed_out,
        _ => return Err(Refusal::NotFound.into()),
    };
    let live = views.owned(user, Kind::Session).filter_map(|(id, entry)| match &entry.state {
        AnyState::Session(session::State::Live(session)) if session.expires_at > now && session.began > signed_out => Some((id, &**session)),
        _ => None,
    });
    let view = |(id, session): (StreamId, &Session)| {
        let secret = session.issued.current.secrets.first().map(|known| known.id);
        let tenant = caller.principal.tenant;
        let last = secret.and_then(|secret| if past { views.used(tenant, secret) } else { caller.vault.last_used(&views, tenant, secret) });
        SessionView {
            id: id.to_string(),
            user: session.user.to_string(),
            created_at: session.created_at.to_string(),
            expires_at: session.expires_at.to_string(),
            last_used_at: last.map(|used| used.last.to_string()),
            current: id == caller.principal.id,
        }
    };
    Ok(answer(views.position(), &Sessions { data: live.map(view).collect(), position: views.position().0 }))
}

/// End a session
///
/// `current` is the caller's own. Somebody else's needs `users:write`.
#[utoipa::path(delete, path = "/v1/sessions/{id}", operation_id = "sessions_end", tag = "Sessions", params(("id" = String, Path)), responses((status = 204, description = "Ended"), Errors))]
pub(super) async fn end(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let id = if id == "current" { Ok(caller.principal.id) } else { id.parse().map_err(|_| Refusal::NotFound) };
    let views = caller.vault.views();
    let own = id.as_ref().is_ok_and(|id| {
        let state = views.thing(*id).map(|entry| &entry.state);
        matches!(state, Some(AnyState::Session(session::State::Live(session))) if Some(session.user) == caller.principal.user)
    });
    let meta = if own { caller.meta("own session") } else { caller.may(Permission::UsersWrite)? };
    let id = id?;
    let route = format!("sessions/end/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::end_session(given, caller.principal.tenant, id)).await?;
    Ok(gone(&done))
}
