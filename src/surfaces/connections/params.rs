//! The headers and parameters of the surface, for the OpenAPI document; `Caller` reads them.

#![expect(dead_code, reason = "documents what `Caller` reads")]

use utoipa::IntoParams;

pub(super) use super::super::params::{AsOfParam, Change, Repeatable};

/// The application.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Application {
    /// The application: 1 to 255 bytes without `/`.
    #[param(rename = "x-apideck-app-id", example = "demo")]
    app_id: String,
}

/// The consumer.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Consumer {
    /// The consumer within the application: 1 to 255 bytes without `/`.
    #[param(rename = "x-apideck-consumer-id", example = "acme")]
    consumer_id: String,
}

/// The consumer, where it may be absent.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct ConsumerIfAny {
    /// The consumer; without one, the catalog is shown as `available`.
    #[param(rename = "x-apideck-consumer-id", example = "acme")]
    consumer_id: Option<String>,
}

/// Which connections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Only of this API family.
    #[param(example = "crm")]
    api: Option<String>,
    /// Only those that have a record, or only those that have none.
    configured: Option<bool>,
}

/// Which logs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListedLogs {
    /// Only of this connector: `api+service`, or the service.
    #[param(rename = "filter[connector_id]", example = "crm+pipedrive")]
    connector: Option<String>,
    /// Only with this HTTP status.
    #[param(rename = "filter[status_code]", example = 200)]
    status: Option<u16>,
    /// Without these sorts, apart by commas: `vault`, `proxy`.
    #[param(rename = "filter[exclude_unified_apis]", example = "proxy")]
    without: Option<String>,
    /// What an earlier page gave as `meta.cursors.next`.
    cursor: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent. A page may be short, or a little longer, and still have a cursor.
    limit: Option<u32>,
}

/// Which consumers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListedConsumers {
    /// Only ids that begin so.
    #[param(rename = "filter[consumer_id]")]
    prefix: Option<String>,
    /// Only ids that hold this.
    #[param(rename = "filter[search]")]
    search: Option<String>,
    /// What an earlier page gave as `meta.cursors.next`.
    cursor: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
}
