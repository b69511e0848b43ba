//! Headers and parameters that every surface has, for the OpenAPI document; `Call` reads them.

#![expect(dead_code, reason = "documents what `Call` reads")]

use utoipa::IntoParams;

/// A command that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Repeatable {
    /// The same key within 24 hours carries the command out once, and gives its answer again; with another request it is refused.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// A change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Change {
    /// The `ETag` of the version that was seen; another one is 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// The same key within 24 hours carries the command out once, and gives its answer again; with another request it is refused.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// The point in time that a read asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AsOfParam {
    /// As it was at this position, or just before this instant. Needs `history:read`; nothing of the past shows a secret.
    #[param(example = "2026-05-04T14:05:00Z")]
    as_of: Option<String>,
    /// Wait until the log has reached this position; 503 when it does not within five seconds.
    min_position: Option<u64>,
}
