//! What a program does about an authorization: it confirms one that came back, or begins one that it sends its user to itself.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::Front;
use super::browser::redirect;
use super::caller::{Caller, Named};
use super::error::{Errors, Problem};
use super::params::{Application, Consumer, Repeatable};
use super::render::{Envelope, answer};
use crate::credentials::connection::Command;
use crate::kernel::{Permission, Refusal, Secret};
use crate::vault::plans;
use crate::web::body::read_json;
use crate::web::limits::BODY;

/// What came back to the page that began.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmConnection {
    /// From the fragment of the last redirect. It works once, for 30 minutes.
    #[schema(value_type = String)]
    confirm_token: Secret,
}

/// Whether the connection is confirmed.
#[derive(Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// Always true: an error says otherwise.
    confirmed: bool,
}

/// Confirm an authorization
///
/// By the page that gave a `nonce` when it began: until then the tokens wait and are not used.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}/confirm", operation_id = "connections_confirm", tag = "Authorization", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Repeatable), request_body = ConfirmConnection, responses((status = 200, body = Envelope<Confirmed>), Errors))]
pub(super) async fn confirm(caller: Caller, Named((api, service)): Named<(String, String)>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsExchange)?;
    let key = caller.key(api, service)?;
    let given: ConfirmConnection = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("confirm_token: is required"))?;
    let tenant = caller.principal.tenant;
    let connection = caller.vault.views().connection(tenant, &key).ok_or(Refusal::NotFound)?;
    let (hash_key, hash) = caller.vault.hash_confirm(connection, &given.confirm_token);
    let (route, request) = (format!("connections/confirm/{connection}"), [hash.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let done = caller.vault.execute(&command, |given| plans::on_connection(given, connection, Command::Confirm { key: hash_key, hash })).await?;
    Ok(answer(&done.views, Confirmed { confirmed: true }))
}

/// Where the user is sent in the end.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateCallbackState {
    /// An origin that the operator allows, or this machine's.
    #[schema(example = "http://localhost:3000/done")]
    redirect_uri: Option<String>,
}

/// What the service must give back.
#[derive(Serialize, ToSchema)]
pub(super) struct CallbackState {
    /// For the parameter `state` of the service's authorize URL; good for 30 minutes, once.
    #[schema(example = "123e4567-e89b-12d3-a456-426614174000")]
    state: String,
}

/// Create a callback state
///
/// For a program that sends its user to the service itself. The service must send the user back to `/vault/callback` with this state. There is no
/// code challenge then, and no browser to recognise.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}/callback-state", operation_id = "connections_callback_state", tag = "Authorization", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive")), request_body = Option<CreateCallbackState>, responses((status = 200, body = Envelope<CallbackState>), Errors))]
pub(super) async fn callback_state(
    State(front): State<Front>,
    caller: Caller,
    Named((api, service)): Named<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsExchange)?;
    let key = caller.key(api, service)?;
    let given: CreateCallbackState = read_json(body, BODY).await?.unwrap_or_default();
    let back = redirect(&front, given.redirect_uri.as_deref().filter(|uri| !uri.is_empty()))?;
    let flow = caller.exchanges.announce_elsewhere(&caller.principal, meta, &key, back.map(|url| url.to_string())).await?;
    Ok(answer(&caller.vault.views(), CallbackState { state: flow.uuid() }))
}
