//! The headers and parameters of the surface, for the OpenAPI document; `Caller` reads them.

#![expect(dead_code, reason = "documents what `Caller` reads")]

use utoipa::IntoParams;

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

/// A command that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Repeatable {
    /// The same key within 24 hours carries the command out once; with another request it is refused.
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
    /// The same key within 24 hours carries the command out once; with another request it is refused.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// The point in time that a read asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AsOfParam {
    /// As it was at this position, or just before this instant.
    #[param(example = "2026-05-04T14:05:00Z")]
    as_of: Option<String>,
    /// Wait until the log has reached this position; 503 when it does not within five seconds.
    min_position: Option<u64>,
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
