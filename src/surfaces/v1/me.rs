//! The caller itself.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, answer};
use crate::web::problem::{Errors, Problem};

/// What the presented token proves.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The credential's id.
    id: String,
    /// `api_key`, `session`, `application`, `user_application` or `api_client`.
    #[schema(example = "session")]
    kind: &'static str,
    /// The user as whom it acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The tenant's id.
    tenant: String,
    /// All permissions that it holds.
    permissions: Vec<String>,
    /// The rules by which it holds them, such as a role.
    #[schema(example = json!(["role:owner"]))]
    rules: Vec<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    app_ids: Vec<String>,
}

/// Get the caller
///
/// What the presented token proves, and what it permits, as of now. Needs no permission.
#[utoipa::path(get, path = "/v1/me", operation_id = "me", tag = "Sessions", responses((status = 200, body = Me), Errors))]
pub(super) async fn me(caller: Caller) -> Result<Response, Problem> {
    let params = caller.params(&[])?;
    if params.get("as_of").is_some() {
        return Err(Problem::invalid("as_of: who calls is told as of now"));
    }
    caller.position(&params).await?;
    let views = caller.vault.views();
    let principal = &caller.principal;
    let me = Me {
        id: principal.id.to_string(),
        kind: views.thing(principal.id).map_or("", |entry| entry.state.kind()),
        user: principal.user.map(|user| user.to_string()),
        tenant: principal.tenant.to_string(),
        permissions: principal.held().iter().map(|permission| permission.name().to_owned()).collect(),
        rules: principal.holds.iter().map(|hold| hold.rule.clone()).collect(),
        app_ids: principal.app_ids.clone(),
    };
    Ok(answer(views.position(), &me))
}
