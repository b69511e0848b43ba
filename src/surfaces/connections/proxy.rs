//! Calls passed through to a connection's service, under the vendor's own path.

use super::super::call::bearer;
use super::super::passing::{NotPassed, by_method};
use super::error::{ErrorBody, Errors, Problem};

bearer!(Bearer, Problem);

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

by_method! {
    "/proxy", "Connections",
    "The same as `/v1/proxy`, with errors as the vendor's clients know them. Needs `connections:proxy`.";
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
