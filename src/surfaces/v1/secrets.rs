//! Reading a secret: few may, for a stated reason, and the event that says so is durable before the value leaves.

use axum::body::Body;
use axum::response::Response;
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, answer};
use crate::kernel::Permission;
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// Which secret, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevealRequest {
    /// The credential's id.
    credential: String,
    /// The name of the secret, as the credential lists it.
    #[schema(example = "access_token")]
    secret: String,
    /// Why: 1 to 512 bytes. It stands in the event.
    #[schema(example = "support case 4711")]
    reason: String,
}

/// The value, once.
#[derive(Serialize, ToSchema)]
pub(super) struct RevealAnswer {
    /// The credential's id.
    credential: String,
    /// The name of the secret.
    secret: String,
    /// Which version of it.
    version: u64,
    /// Keyed hash of the value.
    fingerprint: String,
    /// The value, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The value in base64, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// Position of the event that says who saw it.
    position: u64,
}

/// Reveal a secret
///
/// The event that names the caller and the reason is durable before the value leaves. Needs `secrets:reveal`.
#[utoipa::path(post, path = "/v1/secrets/reveal", operation_id = "secrets_reveal", tag = "Credentials", request_body = RevealRequest, responses((status = 200, body = RevealAnswer), Errors))]
pub(super) async fn reveal(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::SecretsReveal)?;
    let request: RevealRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let stream = request.credential.parse().map_err(|_| crate::kernel::Refusal::NotFound)?;
    let shown = caller.vault.reveal(&caller.principal, meta, stream, &request.secret, &request.reason).await?;
    let bytes = shown.value.expose();
    let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
    let revealed = RevealAnswer {
        credential: stream.to_string(),
        secret: shown.secret.name,
        version: shown.secret.version.0,
        fingerprint: shown.secret.fingerprint.to_string(),
        value_base64: text.is_none().then(|| Base64::encode_string(bytes)),
        value: text,
        position: shown.at.0,
    };
    Ok(answer(shown.at, &revealed))
}
