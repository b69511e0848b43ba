//! Users: people, their roles and passwords.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::events::Events;
use super::listing::{self, Page, Paged, find, role_names, roles};
use crate::credentials::user::{Changes, Profile, State, User};
use crate::credentials::{AnyState, Kind, To};
use crate::kernel::{Permission, Refusal, Secret, StreamId};
use crate::vault::access::permissions_of;
use crate::vault::{Answer, Door, Given, Vault, plans};
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    /// Its id.
    id: String,
    /// The name to log in with.
    #[schema(example = "ann")]
    login: String,
    /// The name to show.
    name: String,
    /// Where to reach the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Names of roles held; one that is gone by its id.
    #[schema(example = json!(["operator"]))]
    roles: Vec<String>,
    /// Whether it is refused for now.
    blocked: bool,
    /// When its password was set; without one it cannot log in.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    password_set_at: Option<String>,
    /// Different wrong passwords in a row.
    failed_logins: u32,
    /// Seconds until it may log in again, after too many of them.
    locked_seconds: u64,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// The name to log in with: 1 to 128 of letters, digits and `. _ @ + -`; unique in the tenant, in any letter case.
    #[schema(example = "ann")]
    login: String,
    /// The name to show; the login when absent.
    name: Option<String>,
    /// Where to reach the person.
    #[schema(example = "ann@example.com")]
    email: Option<String>,
    /// Roles, each by name or id. Nobody gives what they do not hold.
    #[serde(default)]
    #[schema(example = json!(["operator"]))]
    roles: Vec<String>,
    /// A password of 12 characters to 1,024 bytes; without one the user cannot log in.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret>,
}

/// What changes; absent parts stay as they are.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserChanges {
    /// The name to log in with.
    login: Option<String>,
    /// The name to show.
    name: Option<String>,
    /// Where to reach the person; `null` takes it away.
    #[serde(deserialize_with = "super::nullable")]
    #[schema(value_type = Option<String>)]
    email: Option<To<String>>,
    /// Roles, each by name or id.
    roles: Option<Vec<String>>,
    /// Whether it is refused for now. A blocked user's sessions, keys and applications open nothing.
    blocked: Option<bool>,
}

/// A password to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// The new one: 12 characters to 1,024 bytes.
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// The present one; needed to change one's own.
    #[schema(value_type = Option<String>, format = Password)]
    current_password: Option<Secret>,
}

fn view(caller: &Caller, past: bool, views: &Views, id: StreamId, entry: &Entry) -> Option<UserView> {
    let AnyState::User(State::Live(user)) = &entry.state else { return None };
    let User { profile, password, blocked, created_at, updated_at, .. } = &**user;
    let tried = caller.vault.tried("login", &profile.login);
    let (locked_seconds, failed_logins) = if past { Vault::waited(views, entry.tenant, tried) } else { caller.vault.waits(views, entry.tenant, tried) };
    Some(UserView {
        id: id.to_string(),
        login: profile.login.clone(),
        name: profile.name.clone(),
        email: profile.email.clone(),
        roles: role_names(views, entry.tenant, &profile.roles),
        blocked: *blocked,
        password_set_at: password.as_ref().map(|password| password.set_at.to_string()),
        failed_logins,
        locked_seconds,
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
        content_version: entry.content_version.0,
    })
}

fn shown(caller: &Caller, past: bool, views: &Views, id: StreamId) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(caller, past, views, id, entry).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// Whose id `me` is: the user as whom the caller acts.
fn named(caller: &Caller, id: &str) -> Result<StreamId, Refusal> {
    if id == "me" { caller.principal.user.ok_or(Refusal::NotFound) } else { id.parse().map_err(|_| Refusal::NotFound) }
}

/// List users
///
/// Needs `users:read`.
#[utoipa::path(get, path = "/v1/users", operation_id = "users_list", tag = "Users", params(Paged, super::log::AsOfParams), responses((status = 200, body = Page<UserView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::UsersRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let past = params.get("as_of").is_some();
    listing::list(&caller, &params, Kind::User, |views, id, entry| view(&caller, past, views, id, entry)).await
}

/// Create a user
///
/// Needs `users:write`, and the permissions of the roles that are given.
#[utoipa::path(post, path = "/v1/users", operation_id = "users_create", tag = "Users", params(Repeatable), request_body = NewUser, responses((status = 201, body = UserView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::UsersWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewUser = parse(&bytes)?;
    let password = match &new.password {
        Some(password) => Some(caller.vault.hash_password("password", password).await?),
        None => None,
    };
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "users/create", &parts)?;
    let decide = |given: &Given<'_>| {
        let roles = roles(given.views, caller.principal.tenant, &new.roles)?;
        let name = new.name.clone().unwrap_or_else(|| new.login.clone());
        let profile = Profile { login: new.login.clone(), name, email: new.email.clone(), roles };
        plans::create_user(given, &caller.principal, profile, password.clone())
    };
    let done = caller.vault.execute(&command, decide).await?;
    let id = caller.first_thing(&done).await?;
    Ok((StatusCode::CREATED, shown(&caller, false, &done.views, id)?).into_response())
}

/// Get a user
///
/// `me` is the user as whom the caller acts. Needs `users:read`, except for oneself.
#[utoipa::path(get, path = "/v1/users/{id}", operation_id = "users_get", tag = "Users", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = UserView), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let id = named(&caller, &id);
    if id.as_ref().ok() != caller.principal.user.as_ref() {
        caller.may(Permission::UsersRead)?;
    }
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let (id, _) = find(&views, caller.principal.tenant, &id?.to_string(), Kind::User)?;
    shown(&caller, params.get("as_of").is_some(), &views, id)
}

/// Update a user
///
/// Needs `users:write`, and what the user may do, before and after.
#[utoipa::path(patch, path = "/v1/users/{id}", operation_id = "users_update", tag = "Users", params(Change, ("id" = String, Path)), request_body = UserChanges, responses((status = 200, body = UserView), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::UsersWrite)?;
    let (id, expected) = (named(&caller, &id)?, caller.if_match()?);
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let given: UserChanges = parse(&bytes)?;
    let (route, parts) = (format!("users/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let decide = |at: &Given<'_>| {
        let changes = Changes {
            login: given.login.clone(),
            name: given.name.clone(),
            email: given.email.clone(),
            roles: given.roles.as_deref().map(|names| roles(at.views, caller.principal.tenant, names)).transpose()?,
            blocked: given.blocked,
        };
        plans::update_user(at, &caller.principal, id, changes, expected)
    };
    let done = caller.vault.execute(&command, decide).await?;
    shown(&caller, false, &done.views, id)
}

/// Delete a user
///
/// Its sessions, applications, provider keys and API keys go with it. Needs `users:write`, and what the user may do. The last owner stays.
#[utoipa::path(delete, path = "/v1/users/{id}", operation_id = "users_delete", tag = "Users", params(Change, ("id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::UsersWrite)?;
    let (id, expected) = (named(&caller, &id)?, caller.if_match()?);
    let route = format!("users/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.delete_user(&command, id, expected).await?;
    Ok(super::gone(&done))
}

/// Get a user's history
///
/// All its events, newest first, deleted or not. Needs `history:read`.
#[utoipa::path(get, path = "/v1/users/{id}/history", operation_id = "users_history", tag = "Users", params(("id" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    listing::history(&caller, &id, Kind::User).await
}

/// Set a user's password
///
/// Every session of the user ends. Needs what that user may do. One's own needs the present one, if there is one; somebody else's needs
/// `users:write`.
#[utoipa::path(put, path = "/v1/users/{id}/password", operation_id = "users_password", tag = "Users", params(("id" = String, Path)), request_body = NewPassword, responses((status = 204, description = "Set"), Errors))]
pub(super) async fn password(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let id = named(&caller, &id);
    let own = id.as_ref().ok() == caller.principal.user.as_ref();
    let meta = if own { caller.meta("own password") } else { caller.may(Permission::UsersWrite)? };
    let id = id?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewPassword = parse(&bytes)?;
    if own {
        caller.check_own_password(id, new.current_password.as_ref(), &meta).await?;
    }
    let hash = caller.vault.hash_password("password", &new.password).await?;
    let (route, parts) = (format!("users/password/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let done = caller.vault.execute(&command, |given| plans::set_password(given, &caller.principal, id, &hash)).await?;
    Ok(super::gone(&done))
}

/// End a user's sessions
///
/// All of them. One's own, or with `users:write` those of a user who may do no more than the caller.
#[utoipa::path(post, path = "/v1/users/{id}/sign-out", operation_id = "users_sign_out", tag = "Users", params(("id" = String, Path)), responses((status = 204, description = "Ended"), Errors))]
pub(super) async fn sign_out(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let id = named(&caller, &id);
    let own = id.as_ref().ok() == caller.principal.user.as_ref();
    let meta = if own { caller.meta("own sessions") } else { caller.may(Permission::UsersWrite)? };
    let id = id?;
    let route = format!("users/sign-out/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::sign_out(given, &caller.principal, id)).await?;
    Ok(super::gone(&done))
}

/// Unlock a user
///
/// Lets it log in again at once after too many wrong passwords. Needs `users:write`, and what the user may do.
#[utoipa::path(post, path = "/v1/users/{id}/unlock", operation_id = "users_unlock", tag = "Users", params(("id" = String, Path)), responses((status = 204, description = "Unlocked"), Errors))]
pub(super) async fn unlock(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::UsersWrite)?;
    let views = caller.vault.views();
    let (id, entry) = find(&views, caller.principal.tenant, &named(&caller, &id)?.to_string(), Kind::User)?;
    let AnyState::User(State::Live(user)) = &entry.state else { return Err(Refusal::NotFound.into()) };
    // A lock that a lesser administrator could lift again and again would be none.
    caller.principal.may_give(permissions_of(&views, entry))?;
    let tried = caller.vault.tried("login", &user.profile.login);
    caller.vault.clear_attempts(&caller.principal, meta, tried, id).await?;
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

impl Caller {
    /// Compares one's present password, as a login would: wrong ones count.
    async fn check_own_password(&self, id: StreamId, given: Option<&Secret>, meta: &crate::credentials::Meta) -> Result<(), Problem> {
        let views = self.vault.views();
        let (_, user) = views.user_named(self.principal.tenant, &id.to_string()).ok_or(Refusal::NotFound)?;
        let Some(set) = &user.password else { return Ok(()) };
        let given = given.ok_or_else(|| Problem::invalid("the present password is needed").at("current_password", "is missing"))?;
        let tried = self.vault.tried("login", &user.profile.login);
        let door = Door { tenant: self.principal.tenant, tried, principal: Some(id), meta };
        let check = self.vault.has_password(Some(set.hash.clone()), given);
        match self.vault.attempt(&door, given.expose(), check).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::invalid("current_password", "is not the present password").into()),
            Err(locked) => Err(Problem::locked(locked.seconds)),
        }
    }

    /// The thing that a command's first event is about.
    pub(super) async fn first_thing(&self, done: &Answer) -> Result<StreamId, Problem> {
        let (first, _) = done.events.ok_or(Refusal::NotFound)?;
        let records = self.vault.log().fetch(&[first]).await.map_err(crate::vault::VaultError::from)?;
        Ok(records.first().map(|record| record.header().stream).ok_or(Refusal::NotFound)?)
    }
}
