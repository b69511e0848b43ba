//! The headers and parameters of the surface, for the OpenAPI document; `Caller` reads them.

#![expect(dead_code, reason = "documents what `Caller` reads")]

use utoipa::IntoParams;

pub(super) use super::super::params::{AsOfParam, Change, Repeatable};

/// Which page, in which order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// How many to pass over; 0 when absent.
    offset: Option<u64>,
    /// Items of a page, 1 to 200; 50 when absent.
    limit: Option<u64>,
    /// `created` (when absent), `name`, `updated`, `id`, `author`, `updated_by` or `oauth_client_id`.
    #[param(example = "name")]
    sortkey: Option<String>,
    /// `ASC` (when absent) or `DESC`, in any letter case.
    sortdir: Option<String>,
}
