//! The headers and parameters of the surface, for the OpenAPI document; `Caller` reads them.

#![expect(dead_code, reason = "documents what `Caller` reads")]

use utoipa::IntoParams;

pub(super) use super::super::params::{AsOfParam, Change, Repeatable};

/// Whose applications.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Only this one.
    #[param(rename = "clientId")]
    client_id: Option<String>,
    /// Only those of the user with this e-mail address, or login where there is no address; in any letter case.
    #[param(rename = "createdBy", example = "ann@example.com")]
    created_by: Option<String>,
}
