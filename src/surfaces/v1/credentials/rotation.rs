//! Rotation of issued secrets, with an overlap.

use axum::body::Body;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::caller::{Caller, Change, Named, Repeatable, answer};
use super::{Credential, Lens};
use crate::credentials::Meta;
use crate::kernel::{Refusal, Secret, StreamId};
use crate::vault::{Answer, Given, plans};
use crate::web::body::{bytes, parse};
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// How a secret is rotated.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in super::super) struct RotateRequest {
    /// For so many seconds the earlier secret works beside the new one: 0 (the default) to 2,592,000. With 0, every earlier secret ends at once.
    #[schema(example = 3600)]
    grace_seconds: u64,
}

/// A credential, and its new secrets, shown once.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Rotated {
    /// The credential.
    credential: Credential,
    /// The new secret; of an API client, its secret.
    secret: String,
    /// Of an API client: its new OAuth client secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth_client_secret: Option<String>,
}

fn shown(caller: &Caller, done: &Answer, id: StreamId) -> Result<Credential, Problem> {
    let entry = done.views.thing(id).ok_or(Refusal::NotFound)?;
    let lens = Lens { views: &done.views, vault: Some(&caller.vault), now: caller.vault.time(&done.views) };
    Ok(lens.credential(id, entry).ok_or(Refusal::NotFound)?)
}

fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

fn start(caller: &Caller, id: &str) -> Result<(StreamId, Meta), Problem> {
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let rule = caller.may_rotate(id)?;
    Ok((id, caller.meta(&rule)))
}

/// Rotate an issued secret
///
/// Of an API key, an application, a user application, or an API client (both its secrets). Needs the permission to write that kind, and no
/// credential is rotated that may do more than the caller.
#[utoipa::path(post, path = "/v1/credentials/{id}/rotate", operation_id = "credentials_rotate", tag = "Credentials", params(Change, ("id" = String, Path)), request_body = RotateRequest, responses((status = 200, body = Rotated), Errors))]
pub(in super::super) async fn rotate(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let (id, meta) = start(&caller, &id)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.unwrap_or_default();
    let request: RotateRequest = if bytes.is_empty() { RotateRequest::default() } else { parse(&bytes)? };
    let (route, parts) = (format!("credentials/rotate/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let mut values = Vec::new();
    let decide = |given: &Given<'_>| {
        let (plan, new) = plans::rotate(given, &caller.principal, id, request.grace_seconds, expected)?;
        values = new;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&done, values).await?;
    let mut values = values.iter();
    let secret = values.next().map(text).ok_or(Refusal::NotFound)?;
    let rotated = Rotated { credential: shown(&caller, &done, id)?, secret, oauth_client_secret: values.next().map(text) };
    Ok(answer(done.views.position(), &rotated))
}

/// Finish a rotation early
///
/// Earlier secrets stop now.
#[utoipa::path(post, path = "/v1/credentials/{id}/rotation/finish", operation_id = "credentials_rotation_finish", tag = "Credentials", params(Repeatable, ("id" = String, Path)), responses((status = 200, body = Credential), Errors))]
pub(in super::super) async fn finish(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let (id, meta) = start(&caller, &id)?;
    let route = format!("credentials/rotation/finish/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::finish_rotation(given, &caller.principal, id)).await?;
    Ok(answer(done.views.position(), &shown(&caller, &done, id)?))
}

/// Take a rotation back
///
/// The latest earlier secret is the present one again, and the newer one stops now.
#[utoipa::path(post, path = "/v1/credentials/{id}/rotation/take-back", operation_id = "credentials_rotation_take_back", tag = "Credentials", params(Repeatable, ("id" = String, Path)), responses((status = 200, body = Credential), Errors))]
pub(in super::super) async fn take_back(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let (id, meta) = start(&caller, &id)?;
    let route = format!("credentials/rotation/take-back/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::take_back_rotation(given, &caller.principal, id)).await?;
    Ok(answer(done.views.position(), &shown(&caller, &done, id)?))
}
