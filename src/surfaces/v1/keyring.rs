//! The vault's own keys: under which each lies, and their rotation. Only who runs the vault sees them, and nobody their values.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Front;
use super::caller::{Caller, answer};
use crate::kernel::{Permission, Refusal, TenantId};
use crate::vault::{Outcome, Root, Rotation};
use crate::views::Views;
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// How long an answer waits for the end of a rotation.
const PATIENCE: Duration = Duration::from_secs(10);

/// Under which keys everything lies.
#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    /// The root key.
    root: RootKey,
    /// Each tenant's keys, by the tenant's name.
    tenants: Vec<TenantKeys>,
    /// The latest rotation since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<Latest>,
    /// The position that the answer reflects.
    position: u64,
}

/// The root key, which wraps one key of each tenant.
#[derive(Serialize, ToSchema)]
struct RootKey {
    /// `steady`, or `rotating` while there are two.
    #[schema(example = "steady")]
    state: &'static str,
    /// Wrapped keys in both files that the newest root key opens.
    done: u64,
    /// Wrapped keys that only the former one opens.
    left: u64,
}

/// A tenant's keys.
#[derive(Serialize, ToSchema)]
struct TenantKeys {
    /// The tenant's name; absent when it is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "default")]
    tenant: Option<String>,
    /// Its id.
    id: String,
    /// `steady`, `rotating` while there are two versions, or `destroyed`.
    #[schema(example = "steady")]
    state: &'static str,
    /// Versions of its wrapping key, the oldest first.
    versions: Vec<KeyVersion>,
}

/// A version of a tenant's wrapping key.
#[derive(Serialize, ToSchema)]
struct KeyVersion {
    /// Its number.
    version: u32,
    /// Keys with one purpose that lie under it.
    purposes: u64,
    /// Batches of data keys that lie under it.
    batches: u64,
}

/// A rotation.
#[derive(Serialize, ToSchema)]
struct Latest {
    /// `root`, or the tenant's name.
    #[schema(example = "root")]
    key: String,
    /// `running`, `done` or `failed`: the log of the process says why; the same request goes on with it.
    #[schema(example = "done")]
    state: &'static str,
}

/// Which key: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKeys {
    /// The root key.
    #[serde(default)]
    root: bool,
    /// A tenant's name; `system` stands for the vault's own keys.
    #[serde(default)]
    #[schema(example = "default")]
    tenant: Option<String>,
}

fn name_of(views: &Views, tenant: TenantId) -> Option<String> {
    views.tenants().find(|(_, id, _)| *id == tenant).map(|(name, ..)| name.to_owned())
}

async fn shown(caller: &Caller, front: &Front) -> Result<(crate::kernel::Position, Keys), Problem> {
    let state = caller.vault.key_state(Arc::clone(&front.settings) as Root).await?;
    let views = caller.vault.views();
    let tenants = state.tenants.into_iter().map(|(id, versions)| TenantKeys {
        tenant: name_of(&views, id),
        id: id.to_string(),
        state: match versions.len() {
            0 => "destroyed",
            1 => "steady",
            _ => "rotating",
        },
        versions: versions.into_iter().map(|(version, held)| KeyVersion { version, purposes: held.purposes, batches: held.batches }).collect(),
    });
    let mut tenants: Vec<TenantKeys> = tenants.collect();
    tenants.sort_by(|one, other| (&one.tenant, &one.id).cmp(&(&other.tenant, &other.id)));
    let latest = state.latest.map(|(what, outcome)| Latest { key: key_of(&views, what), state: word(&outcome) });
    let root = RootKey { state: if state.root_rotating { "rotating" } else { "steady" }, done: state.root.done, left: state.root.left };
    Ok((views.position(), Keys { root, tenants, latest, position: views.position().0 }))
}

fn key_of(views: &Views, what: Rotation) -> String {
    match what {
        Rotation::Root => "root".into(),
        Rotation::Tenant(tenant) => name_of(views, tenant).unwrap_or_else(|| tenant.to_string()),
    }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        None => "running",
        Some(Ok(())) => "done",
        Some(Err(_)) => "failed",
    }
}

/// Show the vault's own keys
///
/// Versions, how much lies under each, and whether a rotation is under way; never a key. Needs `vault:operate`.
#[utoipa::path(get, path = "/v1/keys", operation_id = "keyring_get", tag = "Keys of the vault", responses((status = 200, body = Keys), Errors))]
pub(super) async fn get(State(front): State<Front>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::VaultOperate)?;
    if caller.params(&[])?.get("as_of").is_some() {
        return Err(Problem::invalid("as_of: keys are as they are now"));
    }
    let (position, keys) = shown(&caller, &front).await?;
    Ok(answer(position, &keys))
}

/// Rotate the root key or a tenant's
///
/// Everything under it is wrapped anew while the server goes on, and the former key is given up when nothing is left under it: of the root key
/// the former file is kept as `.old`, since earlier copies of the keyring open with it only. 202 where that is not done within ten seconds; a
/// rotation that was cut short goes on by the same request, or the next start. Needs `vault:operate`.
#[utoipa::path(post, path = "/v1/keys/rotate", operation_id = "keyring_rotate", tag = "Keys of the vault", request_body = RotateKeys, responses((status = 200, body = Keys), (status = 202, body = Keys, description = "It goes on"), Errors))]
pub(super) async fn rotate(State(front): State<Front>, caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::VaultOperate)?;
    let wanted = read_json::<RotateKeys>(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let what = match (wanted.root, wanted.tenant) {
        (true, None) => Rotation::Root,
        (false, Some(name)) => Rotation::Tenant(caller.vault.views().tenant(&name).ok_or(Refusal::NotFound)?),
        _ => return Err(Problem::invalid("takes either `root` or `tenant`")),
    };
    let mut told = caller.vault.rotate(what, Arc::clone(&front.settings) as Root, &caller.principal, meta)?;
    let outcome: Outcome = tokio::time::timeout(PATIENCE, told.wait_for(Option::is_some)).await.ok().and_then(|told| told.ok()?.clone());
    if let Some(Err(_)) = outcome {
        let detail = "the key was not rotated to the end; the vault's log says why, and the same request goes on with it";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "rotation-failed", detail));
    }
    let (position, keys) = shown(&caller, &front).await?;
    let status = if outcome.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, answer(position, &keys)).into_response())
}
