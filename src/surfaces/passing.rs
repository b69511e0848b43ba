//! Calls that are passed through, as every surface that offers them reads and answers them; each tells what went wrong in its own words.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::call::{Call, Fault};
use crate::credentials::connection::Key;
use crate::egress::{EgressError, StreamLimits};
use crate::kernel::{Permission, Refusal, StreamId};
use crate::oauth::{NoCredentials, Wanted, What};
use crate::proxy::{Asked, Unpassed, pass};
use crate::vault::VaultError;
use crate::web::body::raw;
use crate::web::caller::only;
use crate::web::limits::{ID, PROXY_BODY};

/// One operation for each method under a path, and `routes()` over them; `Bearer`, `Problem`, `Errors` and `Passing` are the surface's own.
macro_rules! by_method {
    ($path:literal, $tag:literal, $description:literal; $($name:ident $method:ident $id:literal $summary:literal;)*) => {
        $(
            #[utoipa::path($method, path = $path, operation_id = $id, tag = $tag, summary = $summary, description = $description,
                params($crate::surfaces::passing::PassedTo),
                responses((status = 200, description = "What the service answers, with its own status", content_type = "*/*"), Passing, Errors))]
            pub(super) async fn $name(
                axum::extract::State(front): axum::extract::State<$crate::surfaces::Front>,
                Bearer(call): Bearer,
                method: axum::http::Method,
                uri: axum::http::Uri,
                headers: axum::http::HeaderMap,
                body: axum::body::Body,
            ) -> Result<axum::response::Response, Problem> {
                Ok($crate::surfaces::passing::passed(call, front.settings.stream_limits, method, uri, headers, body).await?)
            }
        )*

        /// The table of contents.
        pub(super) fn routes() -> utoipa_axum::router::OpenApiRouter<$crate::surfaces::Front> {
            utoipa_axum::router::OpenApiRouter::new().routes(utoipa_axum::routes!($($name),*))
        }
    };
}

pub(super) use by_method;

/// What services may be asked.
const METHODS: [Method; 7] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
/// Tells a service's answer from one of ours: what services send under such a name does not come back.
const STATUS: &str = "keyledger-downstream-status";

/// What a call is to be passed to. All other headers, and the body, go on to the service, except `Authorization`, cookies, and what belongs to one
/// connection only.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents what `Wish` reads")]
pub(super) struct PassedTo {
    /// The application.
    #[param(rename = "x-apideck-app-id", example = "demo")]
    app_id: String,
    /// The consumer within the application.
    #[param(rename = "x-apideck-consumer-id", example = "acme")]
    consumer_id: String,
    /// The service.
    #[param(rename = "x-apideck-service-id", example = "pipedrive")]
    service_id: String,
    /// The API family; may be absent when only one of the consumer's connections is to the service.
    #[param(rename = "x-apideck-unified-api", example = "crm")]
    unified_api: Option<String>,
    /// A whole https URL on a host of the connector's, or a path below its base URL; with the query.
    #[param(rename = "x-apideck-downstream-url", example = "/v1/deals?limit=5")]
    downstream_url: String,
    /// The method, if it is another one than the request's own.
    #[param(rename = "x-apideck-downstream-method", example = "GET")]
    downstream_method: Option<String>,
}

/// A token that could not be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct NotRenewed {
    /// Why.
    pub cause: String,
    /// When the vault tries again by itself, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<i64>,
    /// How long a caller starts no other renewal, in milliseconds.
    pub cooldown_remaining_ms: i64,
}

/// Why a call was not passed through.
pub(super) enum NotPassed {
    /// A header that must be there is not.
    MissingHeader(&'static str),
    /// As with other requests.
    Fault(Fault),
    /// The vault said no, or failed.
    Vault(Arc<VaultError>),
    /// The access token has ended or was refused, and could not be renewed.
    NotRenewed(NotRenewed),
    /// The service gave no answer that can be passed on.
    Service {
        /// 502 or 504.
        status: StatusCode,
        /// Names the sort of problem.
        word: &'static str,
        /// Why, in words that hold nothing of the request or of the answer.
        cause: String,
    },
}

impl<E: Into<Fault>> From<E> for NotPassed {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// What the headers ask for.
struct Wish {
    app: String,
    consumer: String,
    service: String,
    unified_api: Option<String>,
    url: String,
    method: Method,
}

fn invalid(header: &str, problem: &str) -> NotPassed {
    NotPassed::Fault(Refusal::invalid(header, problem).into())
}

fn optional<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, NotPassed> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    only(headers, name).map(Some).ok_or_else(|| invalid(name, "takes one value of visible ASCII characters"))
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, NotPassed> {
    optional(headers, name)?.ok_or(NotPassed::MissingHeader(name))
}

fn named(headers: &HeaderMap, name: &'static str) -> Result<String, NotPassed> {
    let id = required(headers, name)?;
    let fits = id.len() <= ID && !id.contains('/');
    fits.then(|| id.to_owned()).ok_or_else(|| invalid(name, "takes 1 to 255 bytes without /"))
}

impl Wish {
    fn read(headers: &HeaderMap, method: &Method) -> Result<Self, NotPassed> {
        let own = "x-apideck-downstream-authorization";
        if headers.contains_key(own) {
            return Err(invalid(own, "is not taken: the vault puts the connection's credentials in itself"));
        }
        let asked = optional(headers, "x-apideck-downstream-method")?.map(str::to_ascii_uppercase);
        let asked = asked.as_deref().unwrap_or(method.as_str());
        let unified_api = match optional(headers, "x-apideck-unified-api")? {
            Some(_) => Some(named(headers, "x-apideck-unified-api")?),
            None => None,
        };
        Ok(Self {
            app: named(headers, "x-apideck-app-id")?,
            consumer: named(headers, "x-apideck-consumer-id")?,
            service: named(headers, "x-apideck-service-id")?,
            unified_api,
            url: required(headers, "x-apideck-downstream-url")?.to_owned(),
            method: METHODS
                .iter()
                .find(|known| known.as_str() == asked)
                .cloned()
                .ok_or_else(|| invalid("x-apideck-downstream-method", "takes GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS"))?,
        })
    }

    /// The consumer's connection to the service.
    fn connection(&self, call: &Call) -> Result<StreamId, NotPassed> {
        let (views, tenant) = (call.vault.views(), call.principal.tenant);
        let key = |unified_api: &str| Key {
            app: self.app.clone(),
            consumer: self.consumer.clone(),
            unified_api: unified_api.to_owned(),
            service_id: self.service.clone(),
        };
        if let Some(unified_api) = &self.unified_api {
            return Ok(views.connection(tenant, &key(unified_api)).ok_or(Refusal::NotFound)?);
        }
        let of_service = views.connectors(tenant).filter(|connector| connector.service_id == self.service);
        let mut found = of_service.filter_map(|connector| views.connection(tenant, &key(&connector.unified_api)));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(Refusal::NotFound.into()),
            (Some(_), Some(_)) => Err(invalid("x-apideck-unified-api", "is needed: the consumer has several connections to the service")),
        }
    }
}

/// Passes a call through, if the caller may.
pub(super) async fn passed(call: Call, limits: StreamLimits, method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, NotPassed> {
    let app = only(&headers, "x-apideck-app-id");
    let meta = call.may_for(Permission::ConnectionsProxy, app)?;
    let wish = Wish::read(&headers, &method)?;
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(invalid("query", "is none of this route's: it belongs into x-apideck-downstream-url"));
    }
    let connection = wish.connection(&call)?;
    let body = raw(body, PROXY_BODY).await?;
    let wanted = Wanted { principal: call.principal.clone(), meta, idempotency: None, connection, what: What::Renew };
    let asked = Asked { method: wish.method, url: wish.url, headers, body };
    let passed = pass(&call.vault, &call.exchanges, limits, &wanted, &asked).await.map_err(|unpassed| told(unpassed, &call))?;
    let mut response = Response::new(Body::new(passed.body));
    (*response.status_mut(), *response.headers_mut()) = (passed.status, passed.headers);
    response.headers_mut().insert(STATUS, HeaderValue::from(passed.status.as_u16()));
    Ok(response)
}

fn told(unpassed: Unpassed, call: &Call) -> NotPassed {
    let bad_gateway = |word, cause| NotPassed::Service { status: StatusCode::BAD_GATEWAY, word, cause };
    let text = unpassed.to_string();
    match unpassed {
        Unpassed::Credentials(NoCredentials::Vault(error)) => NotPassed::Vault(error),
        Unpassed::Credentials(NoCredentials::NotRenewed { cause, retry_after_ms, cooldown_remaining_ms }) => {
            let now = call.vault.now().millis();
            NotPassed::NotRenewed(NotRenewed { cause, retry_after_ms: retry_after_ms.map(|wait| now.saturating_add(wait)), cooldown_remaining_ms })
        }
        Unpassed::Service(EgressError::Refused(_)) => invalid(crate::proxy::DOWNSTREAM_URL, &text),
        Unpassed::Service(EgressError::Header) => invalid("headers", &text),
        Unpassed::Service(EgressError::Timeout) => NotPassed::Service { status: StatusCode::GATEWAY_TIMEOUT, word: "service-too-slow", cause: text },
        Unpassed::Service(EgressError::Unreachable(_)) => bad_gateway("service-not-reached", text),
        Unpassed::Service(EgressError::Lost) => bad_gateway("service-broke-off", text),
        Unpassed::Service(EgressError::TooLarge { .. }) => bad_gateway("answer-too-large", text),
        Unpassed::Packed => bad_gateway("answer-packed", text),
        Unpassed::Withheld => bad_gateway("answer-withheld", text),
    }
}
