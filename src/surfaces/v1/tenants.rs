//! Tenants: who owns credentials. Only principals of the first tenant see and make them.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Front;
use super::caller::{Caller, Named, answer};
use crate::credentials::AnyState;
use crate::credentials::tenant::State as Tenant;
use crate::kernel::{Permission, Refusal, TenantId};
use crate::keyring::KeyringError;
use crate::vault::{VaultError, plans};
use crate::views::Views;
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    /// Its id.
    id: String,
    /// Its name.
    #[schema(example = "acme")]
    name: String,
    /// Since when all its principals are refused.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_at: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The end that somebody wants for it: all its principals are refused meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    shred: Option<EndView>,
}

/// The end that somebody wants for a tenant.
#[derive(Serialize, ToSchema)]
struct EndView {
    /// Who asked for it.
    requested_by: String,
    /// When.
    #[schema(format = DateTime)]
    requested_at: String,
    /// Why.
    reason: String,
    /// How long it waits after it was approved.
    wait_seconds: u64,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    /// When it comes.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
}

/// All tenants.
#[derive(Serialize, ToSchema)]
pub(super) struct Tenants {
    /// By name.
    data: Vec<TenantView>,
    /// The position that the answer reflects.
    position: u64,
}

/// A tenant's name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// 1 to 63 of a to z, 0 to 9 and `-`; unique in the vault.
    #[schema(example = "acme")]
    name: String,
}

/// A tenant, and its owner's token, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantBegun {
    /// The tenant.
    tenant: TenantView,
    /// The token of its owner, a user with the login `owner`.
    owner_token: String,
}

pub(super) fn view(views: &Views, id: TenantId) -> Option<TenantView> {
    let entry = views.thing(views.tenant_stream(id)?)?;
    let AnyState::Tenant(Tenant::Live { name, suspended_at, created_at, shred, .. }) = &entry.state else { return None };
    let suspended_at = suspended_at.map(|at| at.to_string());
    let shred = shred.as_ref().map(|shred| EndView {
        requested_by: shred.by.to_string(),
        requested_at: shred.at.to_string(),
        reason: shred.reason.clone(),
        wait_seconds: shred.wait,
        approved_by: shred.approved.map(|(by, _)| by.to_string()),
        due_at: shred.approved.map(|(_, due)| due.to_string()),
    });
    Some(TenantView { id: id.to_string(), name: name.to_string(), suspended_at, created_at: created_at.to_string(), shred })
}

/// A tenant by its name; the system's is nobody's business.
pub(super) fn named(views: &Views, name: &str) -> Result<TenantId, Refusal> {
    views.tenant(name).filter(|id| *id != TenantId::SYSTEM).ok_or(Refusal::NotFound)
}

/// List tenants
///
/// Needs `tenants:read`, in the first tenant.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "tenants_list", tag = "Tenants", params(super::log::AsOfParams), responses((status = 200, body = Tenants), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::TenantsRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    let data = views.tenants().filter(|(_, id, _)| *id != TenantId::SYSTEM).filter_map(|(_, id, _)| view(&views, id)).collect();
    Ok(answer(views.position(), &Tenants { data, position: views.position().0 }))
}

/// Create a tenant
///
/// With keys and an owner of its own. Needs `tenants:write`, in the first tenant. A repeat finds the name taken.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "tenants_create", tag = "Tenants", request_body = NewTenant, responses((status = 201, body = TenantBegun), Errors))]
pub(super) async fn create(State(front): State<Front>, caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::TenantsWrite)?;
    let new: NewTenant = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let ensure_keys = |id: TenantId| {
        let keyring = front.vault.keyring();
        let mut admitted = Err(KeyringError::WrongRootKey);
        // While the root key is rotated there are two, of which the keyring takes one; when that ends in between, it is looked at once more.
        for _ in 0..2 {
            for root in front.settings.root_key.root_keys(keyring.vault())? {
                if matches!(admitted, Err(KeyringError::WrongRootKey)) {
                    admitted = keyring.admit(id, &root);
                }
            }
        }
        admitted.map_err(VaultError::from)
    };
    let begun = caller.vault.create_tenant(&caller.principal, meta, &new.name, ensure_keys).await?;
    let tenant = view(&begun.answer.views, begun.id).ok_or(Refusal::NotFound)?;
    let shown = TenantBegun { tenant, owner_token: String::from_utf8_lossy(begun.token.expose()).into_owned() };
    Ok((StatusCode::CREATED, answer(begun.answer.views.position(), &shown)).into_response())
}

/// Get a tenant
///
/// By name. Needs `tenants:read`, in the first tenant.
#[utoipa::path(get, path = "/v1/tenants/{name}", operation_id = "tenants_get", tag = "Tenants", params(("name" = String, Path), super::log::AsOfParams), responses((status = 200, body = TenantView), Errors))]
pub(super) async fn get(caller: Caller, Named(name): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::TenantsRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    let id = named(&views, &name)?;
    Ok(answer(views.position(), &view(&views, id).ok_or(Refusal::NotFound)?))
}

async fn set_suspended(caller: &Caller, name: &str, suspended: bool) -> Result<Response, Problem> {
    let meta = caller.may(Permission::TenantsWrite)?;
    let (id, home) = (named(&caller.vault.views(), name)?, caller.principal.tenant);
    let done = caller.vault.for_system(&caller.principal, meta, |given| plans::set_suspended(given, home, id, suspended)).await?;
    Ok(answer(done.views.position(), &view(&done.views, id).ok_or(Refusal::NotFound)?))
}

/// Suspend a tenant
///
/// All its principals are refused at the next request. The first tenant is never suspended. Needs `tenants:write`, in the first tenant.
#[utoipa::path(post, path = "/v1/tenants/{name}/suspend", operation_id = "tenants_suspend", tag = "Tenants", params(("name" = String, Path)), responses((status = 200, body = TenantView), Errors))]
pub(super) async fn suspend(caller: Caller, Named(name): Named<String>) -> Result<Response, Problem> {
    set_suspended(&caller, &name, true).await
}

/// Resume a tenant
///
/// Needs `tenants:write`, in the first tenant.
#[utoipa::path(post, path = "/v1/tenants/{name}/resume", operation_id = "tenants_resume", tag = "Tenants", params(("name" = String, Path)), responses((status = 200, body = TenantView), Errors))]
pub(super) async fn resume(caller: Caller, Named(name): Named<String>) -> Result<Response, Problem> {
    set_suspended(&caller, &name, false).await
}
