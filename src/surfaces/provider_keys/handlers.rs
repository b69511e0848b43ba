//! Provider keys, in the order of their life. What one request says of several providers comes all together or not at all.

use axum::body::Body;
use axum::response::Response;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::caller::Caller;
use super::error::{Errors, Problem};
use super::params::Headers;
use super::render::{self, answer};
use super::wire::{Addressed, Delete, Write, again};
use crate::credentials::AnyEvent;
use crate::credentials::provider_key::{Given as Written, Provider};
use crate::kernel::{Permission, Plan, Refusal, StreamId};
use crate::vault::{Command, Given, plans};
use crate::web::body::{bytes, parse};
use crate::web::limits::BODY;

/// Keep a user's keys at providers
///
/// Replaces each named key whole, where there is one; what was there before is history. Answers with masks. Needs `provider-keys:write`.
#[utoipa::path(post, path = "/external_provider/api_key/create", operation_id = "provider_keys_create", tag = "Provider keys", params(Headers), request_body = Write, responses((status = 200, body = render::Answer), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ProviderKeysWrite)?;
    let (sent, bytes) = read::<Write>(body).await?;
    let (addressed, keys) = sent.whole();
    let request = [bytes.as_slice()];
    let command = caller.command(meta, "provider-keys/create", &request)?;
    write(&caller, &command, addressed, &keys, true).await
}

/// Change parts of a user's keys at providers
///
/// Absent members stay as they are, and a key that is not there is made. Needs `provider-keys:write`.
#[utoipa::path(post, path = "/external_provider/api_key/update", operation_id = "provider_keys_update", tag = "Provider keys", params(Headers), request_body = Write, responses((status = 200, body = render::Answer), Errors))]
pub(super) async fn update(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ProviderKeysWrite)?;
    let (sent, bytes) = read::<Write>(body).await?;
    let (addressed, keys) = sent.parts()?;
    let request = [bytes.as_slice()];
    let command = caller.command(meta, "provider-keys/update", &request)?;
    write(&caller, &command, addressed, &keys, false).await
}

/// Remove a user's keys at providers
///
/// Those with `true`; one that is not there is passed over. Needs `provider-keys:write`.
#[utoipa::path(post, path = "/external_provider/api_key/delete", operation_id = "provider_keys_delete", tag = "Provider keys", params(Headers), request_body = Delete, responses((status = 200, body = render::Answer), Errors))]
pub(super) async fn delete(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ProviderKeysWrite)?;
    let (sent, bytes) = read::<Delete>(body).await?;
    let (addressed, providers) = sent.parts();
    let request = [bytes.as_slice()];
    let command = caller.command(meta, "provider-keys/delete", &request)?;
    let tenant = caller.principal.tenant;
    let decide = |given: &Given<'_>, user| plans::delete_provider_keys(given, tenant, user, &providers);
    carry_out(&caller, &command, addressed, decide).await
}

async fn write(caller: &Caller, command: &Command<'_>, addressed: Addressed, keys: &[(Provider, Written)], whole: bool) -> Result<Response, Problem> {
    let tenant = caller.principal.tenant;
    let decide = |given: &Given<'_>, user| plans::write_provider_keys(given, tenant, user, again(keys), whole);
    carry_out(caller, command, addressed, decide).await
}

/// Carries a command out for the user that a request names.
async fn carry_out(
    caller: &Caller,
    command: &Command<'_>,
    addressed: Addressed,
    decide: impl Fn(&Given<'_>, StreamId) -> Result<Plan<AnyEvent>, Refusal>,
) -> Result<Response, Problem> {
    let tenant = caller.principal.tenant;
    let mut named = None;
    let done = caller.vault.execute(command, |given| {
        let (user, _) = given.views.user_named(tenant, &addressed.user).ok_or(Refusal::NotFound)?;
        named = Some(user);
        decide(given, user)
    });
    let done = done.await?;
    // A repeat decides nothing: its user is the one who bore the name at first.
    let user = named.or_else(|| done.views.user_named(tenant, &addressed.user).map(|(user, _)| user)).ok_or(Refusal::NotFound)?;
    Ok(answer(&done.views, user, addressed.schema))
}

/// Reads a body that must be there, and keeps its bytes, by which one request is told from another under the same idempotency key.
async fn read<T: DeserializeOwned>(body: Body) -> Result<(T, Zeroizing<Vec<u8>>), Problem> {
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("the body is missing"))?;
    Ok((parse(&bytes)?, bytes))
}
