//! Calls passed through to a connection's service, under the vendor's own path.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Front;
use super::super::call::Call;
use super::super::passing::{NotPassed, PassedTo, passed};
use super::error::{ErrorBody, Errors, Problem};
use crate::web::caller::bearer_token;

/// A caller that presented a token of this vault.
pub(super) struct Bearer(Call);

impl FromRequestParts<Front> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        Ok(Self(Call::begin(parts, front, bearer_token(&parts.headers).ok())?))
    }
}

impl From<NotPassed> for Problem {
    fn from(not: NotPassed) -> Self {
        match not {
            NotPassed::MissingHeader(name) => Self::missing_header(name),
            NotPassed::Fault(fault) => fault.into(),
            NotPassed::Vault(error) => Self::from(&*error),
            NotPassed::NotRenewed(why) => Self::no_credentials(&why),
            NotPassed::Service { status, cause, .. } => Self::downstream(status, cause),
        }
    }
}

macro_rules! by_method {
    ($($name:ident $method:ident $id:literal $summary:literal;)*) => {
        $(
            #[utoipa::path($method, path = "/proxy", operation_id = $id, tag = "Connections", summary = $summary,
                description = "The same as `/v1/proxy`, with errors as the vendor's clients know them. Needs `connections:proxy`.",
                params(PassedTo),
                responses((status = 200, description = "What the service answers, with its own status", content_type = "*/*"), Passing, Errors))]
            pub(super) async fn $name(
                State(front): State<Front>,
                Bearer(call): Bearer,
                method: Method,
                uri: Uri,
                headers: HeaderMap,
                body: Body,
            ) -> Result<Response, Problem> {
                Ok(passed(call, front.settings.stream_limits, method, uri, headers, body).await?)
            }
        )*

        /// The table of contents.
        pub(super) fn routes() -> OpenApiRouter<Front> {
            OpenApiRouter::new().routes(routes!($($name),*))
        }
    };
}

by_method! {
    get get "connections_proxy_get" "Pass a GET through (Apideck)";
    post post "connections_proxy_post" "Pass a POST through (Apideck)";
    put put "connections_proxy_put" "Pass a PUT through (Apideck)";
    patch patch "connections_proxy_patch" "Pass a PATCH through (Apideck)";
    delete delete "connections_proxy_delete" "Pass a DELETE through (Apideck)";
    head head "connections_proxy_head" "Pass a HEAD through (Apideck)";
    options options "connections_proxy_options" "Pass an OPTIONS through (Apideck)";
}

/// What stands in the place of a service's answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Passing {
    /// The service was not reached, broke off, or answered what cannot be passed on
    #[response(status = 502)]
    Broken(ErrorBody),
    /// The service took too long to begin its answer
    #[response(status = 504)]
    Slow(ErrorBody),
}
