//! Calls passed through to a connection's service.

use axum::http::StatusCode;

use super::super::call::bearer;
use super::super::passing::{NotPassed, by_method};
use crate::web::problem::{Errors, Problem};

bearer!(Bearer, Problem);

impl From<NotPassed> for Problem {
    fn from(not: NotPassed) -> Self {
        match not {
            NotPassed::MissingHeader(name) => Self::invalid(format!("{name}: is needed")),
            NotPassed::Fault(fault) => fault.into(),
            NotPassed::Vault(error) => Self::from(&*error),
            NotPassed::NotRenewed(why) => {
                let retry = why.retry_after_ms.map(|at| format!("; retry_after_ms: {at}")).unwrap_or_default();
                let detail = format!("the access token could not be renewed: {}{retry}; cooldown_remaining_ms: {}", why.cause, why.cooldown_remaining_ms);
                Self::new(StatusCode::UNAUTHORIZED, "not-renewed", detail)
            }
            NotPassed::Service { status, word, cause } => Self::new(status, word, cause),
        }
    }
}

by_method! {
    "/v1/proxy", "Proxy",
    "Calls the service of a connection with its credentials, which the caller never sees: they are put in here, and renewed first when their end is \
        near or the service answers 401. Header and body go on; the answer is passed back while it comes, with `Keyledger-Downstream-Status` beside \
        it, which no answer of the vault's own bears. Redirects are not followed. An answer in which a credential stands is cut off. Needs \
        `connections:proxy`.";
    get get "proxy_get" "Pass a GET through";
    post post "proxy_post" "Pass a POST through";
    put put "proxy_put" "Pass a PUT through";
    patch patch "proxy_patch" "Pass a PATCH through";
    delete delete "proxy_delete" "Pass a DELETE through";
    head head "proxy_head" "Pass a HEAD through";
    options options "proxy_options" "Pass an OPTIONS through";
}

/// What stands in the place of a service's answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Passing {
    /// The service was not reached, broke off, or answered what cannot be passed on
    #[response(status = 502, content_type = "application/problem+json")]
    Broken(Problem),
    /// The service took too long to begin its answer
    #[response(status = 504, content_type = "application/problem+json")]
    Slow(Problem),
}
