//! The headers of the surface, for the OpenAPI document; `Caller` reads them.

#![expect(dead_code, reason = "documents what `Caller` reads")]

use utoipa::IntoParams;

/// Who calls, and a command that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Headers {
    /// A token of this vault, where the client cannot send `Authorization`, which counts if both are there.
    #[param(rename = "X-Application-ID")]
    application_id: Option<String>,
    /// The same key within 24 hours carries the command out once; with another request it is refused.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}
