//! The headers and parameters of the surface, for the OpenAPI document; `Caller` and `Wanted` read them.

#![expect(dead_code, reason = "documents what `Caller` and `Wanted` read")]

use utoipa::IntoParams;

pub(super) use super::super::params::{Change, Repeatable};

/// Which keys, and which of their members.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Only those that are refused for now, or only those that are not.
    blocked: Option<bool>,
    /// Only those whose names hold this, in any letter case.
    #[param(example = "backup")]
    name: Option<String>,
    /// Only the one with this token: what is shown of it, or the whole.
    #[param(example = "klkey_0a1b2c3d")]
    token: Option<String>,
    /// Members to add: `email` or `emails` (the addresses, under that name), `labels`, `permissions`; several apart by commas, or as several
    /// parameters.
    #[param(rename = "optFields", example = "emails,labels,permissions")]
    opt_fields: Option<String>,
    /// As it was at this position, or just before this instant.
    #[param(example = "2026-05-04T14:05:00Z")]
    as_of: Option<String>,
    /// Wait until the log has reached this position; 503 when it does not within five seconds.
    min_position: Option<u64>,
}
