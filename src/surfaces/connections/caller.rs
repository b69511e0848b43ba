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
use crate::credentials::issued::Token;
use crate::kernel::{Permission, Refusal};
use crate::vault::ConsumerSession;
use crate::web::caller::{bearer_token, only};
use crate::web::limits::ID;

/// A caller that presented a token of this vault and named an application that the token may name.
pub(super) struct Caller {
    call: Call,
    pub app: String,
    consumer: Option<String>,
    session: Option<ConsumerSession>,
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
        let token = bearer_token(&parts.headers).ok();
        // A session's token is signed, so it has dots; the vendor's pages also say so in a header, but the token alone tells.
        let session = token.filter(|token| token.contains('.')).and_then(|token| front.vault.open_session(token).ok());
        let call = match &session {
            Some(session) => Call::of(parts, front, session.principal.clone()),
            None => Call::begin(parts, front, token)?,
        };
        let named = |name: &'static str| match only(&parts.headers, name) {
            Some(id) if is_id(id) => Ok(Some(id.to_owned())),
            Some(_) => Err(Problem::invalid(format!("{name}: takes 1 to {ID} bytes without /"))),
            None => Ok(None),
        };
        let of_session = |of: fn(&ConsumerSession) -> &String| session.as_ref().map(|session| of(session).clone());
        let app = named("x-apideck-app-id")?.or_else(|| of_session(|session| &session.app));
        let app = app.ok_or_else(|| Problem::missing_header("x-apideck-app-id"))?;
        if !call.principal.app_ids.is_empty() && !call.principal.app_ids.contains(&app) {
            return Err(Problem::unauthorized());
        }
        let consumer = named("x-apideck-consumer-id")?.or_else(|| of_session(|session| &session.consumer));
        if session.as_ref().is_some_and(|session| Some(&session.consumer) != consumer.as_ref()) {
            return Err(Problem::unauthorized());
        }
        Ok(Self { call, app, consumer, session })
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

/// Whether a caller may choose this id. A token of ours is none: a name stands in links and in answers.
pub(super) fn is_id(id: &str) -> bool {
    Token::parse(id).is_err() && !id.is_empty() && id.len() <= ID && !id.chars().any(|c| c == '/' || c.is_control())
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

    /// The connection that the path and the headers name. A session sees only the API families that it was made for.
    pub fn key(&self, unified_api: String, service_id: String) -> Result<Key, Problem> {
        if !self.sees(&unified_api) {
            return Err(Refusal::NotFound.into());
        }
        Ok(Key { app: self.app.clone(), consumer: self.consumer()?.to_owned(), unified_api, service_id })
    }

    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Problem> {
        Ok(self.call.may_for(permission, Some(&self.app))?)
    }

    /// Whether the caller may see an API family.
    pub fn sees(&self, unified_api: &str) -> bool {
        let listed = self.of_settings("unified_apis").filter(|listed| !listed.is_empty());
        listed.is_none_or(|listed| listed.iter().any(|api| api == unified_api))
    }

    /// Whether the caller may do what its session lists as an action; who is no session may.
    pub fn acts(&self, action: &str) -> bool {
        self.of_settings("allow_actions").is_none_or(|listed| listed.iter().any(|other| other == action))
    }

    /// Passes only who may do what a session lists as an action.
    pub fn may_act(&self, action: &str) -> Result<(), Problem> {
        if self.acts(action) { Ok(()) } else { Err(Refusal::Forbidden { permission: "a session that allows this action" }.into()) }
    }

    /// Passes only who is no session: what a program does, and no consumer.
    pub fn no_session(&self) -> Result<(), Problem> {
        if self.session.is_none() { Ok(()) } else { Err(Refusal::Forbidden { permission: "a token that is no session of a consumer" }.into()) }
    }

    fn of_settings(&self, name: &str) -> Option<&Vec<serde_json::Value>> {
        self.session.as_ref()?.more.get("settings")?.get(name)?.as_array()
    }
}
