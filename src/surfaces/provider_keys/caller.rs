//! Who calls: proven before anything of the body is read.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;

use super::super::Front;
use super::super::call::{Call, told_as};
use super::error::Problem;
use crate::web::caller::{MissingOrMalformed, bearer_token, only};

/// The header in which the vendor's clients send the id of their application; here it bears the token.
const APPLICATION: &str = "x-application-id";

/// A caller that presented a token of this vault.
pub(super) struct Caller(Call);

impl Deref for Caller {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.0
    }
}

/// The token: of `Authorization` if that is there, whatever it holds, else of `X-Application-ID`.
fn token(headers: &HeaderMap) -> Option<&str> {
    match bearer_token(headers) {
        Ok(token) => Some(token),
        Err(MissingOrMalformed::Malformed) => None,
        Err(MissingOrMalformed::Missing) => only(headers, APPLICATION),
    }
}

impl FromRequestParts<Front> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let call = Call::begin(parts, front, token(&parts.headers))?;
        if parts.headers.contains_key(header::IF_MATCH) {
            return Err(Problem::no_tag());
        }
        Ok(Self(call))
    }
}

told_as!(Problem, invalid);
