//! Who calls, for which application and consumer: proven before anything of the body is read.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::super::Front;
use super::super::call::{Call, named, told_as};
use super::error::Problem;
use crate::credentials::Meta;
use crate::credentials::connection::Key;
use crate::kernel::Permission;
use crate::web::caller::{bearer_token, only};
use crate::web::limits::ID;

/// A caller that presented a token of this vault and named an application that the token may name.
pub(super) struct Caller {
    call: Call,
    pub app: String,
    consumer: Option<String>,
}

impl Deref for Caller {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl FromRequestParts<Front> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let call = Call::begin(parts, front, bearer_token(&parts.headers).ok())?;
        let named = |name: &'static str| match only(&parts.headers, name) {
            Some(id) if is_id(id) => Ok(Some(id.to_owned())),
            Some(_) => Err(Problem::invalid(format!("{name}: takes 1 to {ID} bytes without /"))),
            None => Ok(None),
        };
        let app = named("x-apideck-app-id")?.ok_or_else(|| Problem::missing_header("x-apideck-app-id"))?;
        if !call.principal.app_ids.is_empty() && !call.principal.app_ids.contains(&app) {
            return Err(Problem::unauthorized());
        }
        let consumer = named("x-apideck-consumer-id")?;
        Ok(Self { call, app, consumer })
    }
}

told_as!(Problem, invalid);

/// The parts of the path. One that is not UTF-8 names nothing.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        Ok(Self(named(parts, front).await?))
    }
}

/// Whether a caller may choose this id.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID && !id.chars().any(|c| c == '/' || c.is_control())
}

impl Caller {
    /// The consumer, where the vendor lets it be absent.
    pub fn consumer_if_given(&self) -> Option<&str> {
        self.consumer.as_deref()
    }

    /// The consumer.
    pub fn consumer(&self) -> Result<&str, Problem> {
        self.consumer_if_given().ok_or_else(|| Problem::missing_header("x-apideck-consumer-id"))
    }

    /// The connection that the path and the headers name.
    pub fn key(&self, unified_api: String, service_id: String) -> Result<Key, Problem> {
        Ok(Key { app: self.app.clone(), consumer: self.consumer()?.to_owned(), unified_api, service_id })
    }

    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Problem> {
        Ok(self.call.may_for(permission, Some(&self.app))?)
    }
}
