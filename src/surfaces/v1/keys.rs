//! Key verification, for services that hand out our keys: whether a presented one is valid, whose it is, and what it may do. From memory.

use axum::body::Body;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api_keys::organizations;
use super::caller::{Caller, answer};
use crate::credentials::AnyState;
use crate::credentials::api_key::State;
use crate::credentials::issued::SecretId;
use crate::credentials::user;
use crate::kernel::{Permission, Secret, StreamId};
use crate::vault::{Unusable, access};
use crate::views::{Entry, Views};
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A key that somebody presented.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// The whole token, as it was presented.
    #[schema(value_type = String, example = "klkey_…")]
    key: Secret,
    /// Permissions that it must have; any of the vault's names, and `custom:` ones.
    #[serde(default)]
    #[schema(example = json!(["custom:reports.read"]))]
    permissions: Vec<String>,
}

/// What is to be said of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Verified {
    /// Whether it may be let in.
    valid: bool,
    /// Why not, or `valid`.
    code: Code,
    /// The key, unless it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyShown>,
    /// Permissions that were asked for and that it lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_permissions: Vec<String>,
}

/// Why a key is let in, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    /// It may be let in.
    Valid,
    /// No key of this tenant, a wrong secret, or one that was rotated away, or deleted: they look the same.
    NotFound,
    /// It is blocked.
    Blocked,
    /// It has ended by itself.
    Expired,
    /// Its owner is gone or blocked, or the tenant is suspended.
    OwnerRefused,
    /// It lacks a permission that was asked for.
    MissingPermissions,
}

/// What a service needs to know of a key.
#[derive(Serialize, ToSchema)]
struct KeyShown {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// The user as whom it acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    /// All that it may do: its own permissions and its owner's.
    permissions: Vec<String>,
    /// Ids of organisations that it serves.
    organizations: Vec<String>,
    /// Free labels.
    labels: Vec<String>,
    /// Whether it is blocked.
    blocked: bool,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Which of its secrets was presented: a key has two while it is rotated with an overlap.
    secret_id: String,
    /// When that secret stops, if a rotation has set that.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_ends_at: Option<String>,
}

/// The user as whom a key acts.
#[derive(Serialize, ToSchema)]
struct Owner {
    /// The user's id.
    id: String,
    /// The user's login; absent when the user is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

/// Verify a key
///
/// Always 200 when the question was understood: the answer is in `valid` and `code`. It is found in memory, and counts as a use of the key,
/// whether it is valid or not. Needs `keys:verify`.
#[utoipa::path(post, path = "/v1/keys/verify", operation_id = "keys_verify", tag = "API keys", request_body = VerifyRequest, responses((status = 200, body = Verified), Errors))]
pub(super) async fn verify(caller: Caller, body: Body) -> Result<Response, Problem> {
    caller.may(Permission::KeysVerify)?;
    let request: VerifyRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    crate::kernel::Permits::parse("permissions", &request.permissions)?;
    let views = caller.vault.views();
    let presented = std::str::from_utf8(request.key.expose()).unwrap_or_default();
    let (found, usable) = caller.vault.verify_key(&views, caller.principal.tenant, presented);
    let shown = found.and_then(|(id, secret)| key(&views, id, secret));
    let mut missing = request.permissions;
    missing.retain(|wanted| shown.as_ref().is_some_and(|key| !key.permissions.contains(wanted)));
    let code = match usable {
        Err(Unusable::Unknown) => Code::NotFound,
        Err(Unusable::Blocked) => Code::Blocked,
        Err(Unusable::Expired) => Code::Expired,
        Err(Unusable::OwnerRefused) => Code::OwnerRefused,
        Ok(()) if !missing.is_empty() => Code::MissingPermissions,
        Ok(()) => Code::Valid,
    };
    let verified = Verified { valid: code == Code::Valid, code, key: shown, missing_permissions: missing };
    Ok(answer(views.position(), &verified))
}

fn key(views: &Views, id: StreamId, secret: SecretId) -> Option<KeyShown> {
    let entry: &Entry = views.thing(id)?;
    let AnyState::ApiKey(State::Live(live)) = &entry.state else { return None };
    let login = |owner: StreamId| match views.thing(owner).map(|entry| &entry.state) {
        Some(AnyState::User(user::State::Live(user))) => Some(user.profile.login.clone()),
        _ => None,
    };
    let own = access::permissions_of(views, entry).iter().map(|permission| permission.name().to_owned());
    let generation = live.issued.generation(secret);
    Some(KeyShown {
        id: id.to_string(),
        name: live.name.to_string(),
        owner: live.owner.map(|owner| Owner { id: owner.to_string(), login: login(owner) }),
        permissions: own.chain(live.permits.foreign.iter().cloned()).collect(),
        organizations: organizations(views, live),
        labels: live.more().labels.clone(),
        blocked: live.blocked,
        expires_at: live.expires_at.map(|at| at.to_string()),
        secret_id: secret.to_string(),
        secret_ends_at: generation.and_then(|generation| generation.ends_at).map(|at| at.to_string()),
    })
}
