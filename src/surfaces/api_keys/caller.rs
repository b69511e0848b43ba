//! Who calls: proven before anything of the body is read.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::super::Front;
use super::super::call::{bearer, named, told_as};
use super::error::Problem;
use crate::credentials::Kind;
use crate::kernel::{Position, Refusal, StreamId};
use crate::views::Views;

bearer!(Caller, Problem);
told_as!(Problem, invalid);

/// A key's number in the path. What is no number names nothing.
pub(super) struct Number(pub Position);

impl FromRequestParts<Front> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let text: String = named(parts, front).await?;
        // Only as answers write it: one key has one path.
        let number = text.parse().map(Position).ok().filter(|number| number.to_string() == text);
        Ok(Self(number.ok_or(Refusal::NotFound)?))
    }
}

impl Caller {
    /// The key of a number, whether it is still there or not: a command that is repeated may have removed it.
    pub fn key(&self, views: &Views, Number(number): Number) -> Result<StreamId, Problem> {
        let found = views.numbered(self.principal.tenant, Kind::ApiKey, number);
        found.map(|(id, _)| id).ok_or_else(|| Refusal::NotFound.into())
    }
}
