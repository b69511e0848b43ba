//! The end of a tenant: asked for by one person, approved by another, carried out after a wait.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Named, answer};
use super::tenants::{TenantView, named, view};
use crate::credentials::Meta;
use crate::kernel::{Permission, Refusal};
use crate::vault::{Answer, TENANT_WAIT};
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// Asks for a tenant's end.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    /// The tenant's name, typed again. Without it nothing happens, and the answer shows what would die.
    #[serde(default)]
    #[schema(example = "acme")]
    confirm: Option<String>,
    /// Why: 1 to 512 bytes. It stands in the event.
    #[serde(default)]
    reason: Option<String>,
    /// How long it waits after it was approved, an hour to a year; a week when absent.
    #[serde(default)]
    wait_seconds: Option<u64>,
}

/// A tenant that somebody wants to end.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantEnd {
    /// The tenant.
    tenant: TenantView,
    /// What would die: how many things of each kind, deleted ones included.
    things: BTreeMap<&'static str, u64>,
    /// How many of them are in use.
    live: u64,
    /// What comes next.
    notice: &'static str,
    /// The position that the answer reflects.
    position: u64,
}

const ASK: &str = "nothing was asked for yet: it takes `confirm` and `reason`; the end cannot be undone";
const ASKED: &str = "its principals are refused from now on; another person has to approve its end";
const APPROVED: &str = "its end comes when the wait is over, and cannot be undone; it can be cancelled before";
const CANCELLED: &str = "it stays";

fn may(caller: &Caller) -> Result<Meta, Problem> {
    caller.may(Permission::VaultOperate)?;
    Ok(caller.may(Permission::ShredApply)?)
}

fn told(caller: &Caller, name: &str, done: Option<&Answer>, notice: &'static str) -> Result<Response, Problem> {
    let views = done.map_or_else(|| caller.vault.views(), |done| std::sync::Arc::clone(&done.views));
    let id = named(&views, name)?;
    let contents = caller.vault.tenant_contents(id);
    let tenant = view(&views, id).ok_or(Refusal::NotFound)?;
    let end = TenantEnd { tenant, things: contents.things, live: contents.live, notice, position: views.position().0 };
    Ok(answer(views.position(), &end))
}

/// Ask for a tenant's end
///
/// Without `confirm` the answer shows what would die. With it, the tenant's principals are refused at once; another person approves it, and a week
/// after that (or what `wait_seconds` says, an hour at least) all of the tenant's keys are destroyed. By a credential of a user, as the approval. Needs
/// `vault:operate` and `shred:apply`, in the first tenant.
#[utoipa::path(post, path = "/v1/tenants/{name}/shred", operation_id = "tenants_shred", tag = "Shredding", params(("name" = String, Path)), request_body = Option<EndRequest>, responses((status = 200, body = TenantEnd), Errors))]
pub(super) async fn request(caller: Caller, Named(name): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = may(&caller)?;
    let asked = read_json::<EndRequest>(body, BODY).await?.unwrap_or_default();
    let id = named(&caller.vault.views(), &name)?;
    let Some(confirm) = asked.confirm else { return told(&caller, &name, None, ASK) };
    if confirm != name {
        return Err(Refusal::invalid("confirm", "is not the tenant's name").into());
    }
    let reason = asked.reason.unwrap_or_default();
    let wait = asked.wait_seconds.unwrap_or(TENANT_WAIT);
    let done = caller.vault.request_tenant_end(&caller.principal, meta, id, wait, &reason).await?;
    told(&caller, &name, Some(&done), ASKED)
}

/// Approve a tenant's end
///
/// By another user than the one who asked, with any credential of that user. The wait begins. Needs `vault:operate` and `shred:apply`, in the first tenant.
#[utoipa::path(post, path = "/v1/tenants/{name}/shred/approve", operation_id = "tenants_shred_approve", tag = "Shredding", params(("name" = String, Path)), responses((status = 200, body = TenantEnd), Errors))]
pub(super) async fn approve(caller: Caller, Named(name): Named<String>) -> Result<Response, Problem> {
    let meta = may(&caller)?;
    let id = named(&caller.vault.views(), &name)?;
    let done = caller.vault.approve_tenant_end(&caller.principal, meta, id).await?;
    told(&caller, &name, Some(&done), APPROVED)
}

/// Cancel a tenant's end
///
/// At any time before it has come. Needs `vault:operate` and `shred:apply`, in the first tenant.
#[utoipa::path(post, path = "/v1/tenants/{name}/shred/cancel", operation_id = "tenants_shred_cancel", tag = "Shredding", params(("name" = String, Path)), responses((status = 200, body = TenantEnd), Errors))]
pub(super) async fn cancel(caller: Caller, Named(name): Named<String>) -> Result<Response, Problem> {
    let meta = may(&caller)?;
    let id = named(&caller.vault.views(), &name)?;
    let done = caller.vault.cancel_tenant_end(&caller.principal, meta, id).await?;
    told(&caller, &name, Some(&done), CANCELLED)
}
