//! Who calls: proven before anything of the body is read.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::super::Front;
use super::super::call::{bearer, named, told_as};
use super::error::Problem;
use crate::credentials::Meta;
use crate::kernel::{Permission, Refusal, StreamId};

bearer!(Caller, Problem);
told_as!(Problem, invalid);

impl Caller {
    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Problem> {
        Ok(self.0.may(permission)?)
    }

    /// Passes only a user, or what acts as one, and who may keep applications of their own.
    pub fn may_keep_its_own(&self) -> Result<(Meta, StreamId), Problem> {
        let meta = self.may(Permission::UserApplicationsOwn)?;
        Ok((meta, self.principal.user.ok_or_else(Problem::no_user)?))
    }
}

/// The id in the path; text that is none names nothing.
pub(super) struct Id(pub StreamId);

impl FromRequestParts<Front> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let text: String = named(parts, front).await?;
        Ok(Self(StreamId::of_client(&text).ok_or(Refusal::NotFound)?))
    }
}
