//! Who calls our own routes: proven before anything of the body is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::call::{bearer, named, told_as};
pub(super) use super::super::params::{Change, Repeatable};
use super::Front;
use crate::kernel::{Position, StreamId};
use crate::vault::plans;
use crate::views::Views;
use crate::web::limits::FILTER_VALUES;
use crate::web::page;
use crate::web::problem::Problem;

bearer!(Caller, Problem);
told_as!(Problem, invalid);

/// The parts of the path. One that does not parse names nothing.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        Ok(Self(named(parts, front).await?))
    }
}

impl Caller {
    /// Passes only who may change the secrets of a credential; gives the rule.
    pub fn may_rotate(&self, id: StreamId) -> Result<String, Problem> {
        let views = self.vault.views();
        let rule = plans::may_touch(&views, &self.principal, id).map(str::to_owned);
        Ok(rule.inspect_err(|refusal| self.vault.note_denied(&self.principal, refusal))?)
    }

    /// The parameters of the query. One that the route does not know, or that is given twice, is an error: a mistyped filter would be none.
    pub fn params(&self, known: &[&'static str]) -> Result<Params, Problem> {
        self.params_with(known, &[])
    }

    /// The same, where some may be given several times.
    pub fn params_with(&self, known: &[&'static str], several: &[&'static str]) -> Result<Params, Problem> {
        let mut params: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (name, value) in self.pairs() {
            let known = known.iter().chain(several).chain(&["as_of", "min_position"]).find(|known| **known == name);
            let known = known.ok_or_else(|| Problem::invalid("the query has a parameter that this route does not know"))?;
            let values = params.entry(*known).or_default();
            if !values.is_empty() && !several.contains(known) {
                return Err(Problem::invalid(format!("{known}: is given twice")));
            }
            if values.len() == FILTER_VALUES {
                return Err(Problem::invalid(format!("{known}: is given more than {FILTER_VALUES} times")));
            }
            values.push(value);
        }
        Ok(Params(params))
    }

    /// The position that a read with these parameters reflects.
    pub async fn position(&self, _: &Params) -> Result<Position, Problem> {
        Ok(self.0.position().await?)
    }

    /// The views that a read with these parameters reflects.
    pub async fn views(&self, _: &Params) -> Result<Arc<Views>, Problem> {
        Ok(self.0.views().await?)
    }
}

/// The parameters of a query.
pub(super) struct Params(BTreeMap<&'static str, Vec<String>>);

impl Params {
    /// A parameter; empty ones count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter; empty ones count as absent.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// How many items a page holds.
    pub fn limit(&self) -> Result<usize, Problem> {
        Ok(page::limit(self.get("limit"))?)
    }

    /// The position in a cursor.
    pub fn cursor(&self) -> Result<Option<Position>, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        let bytes = page::read_cursor(text)?.try_into().map_err(|_| page::PageError::Cursor)?;
        Ok(Some(Position(u64::from_be_bytes(bytes))))
    }
}

/// A cursor around a position.
pub(super) fn cursor(position: Position) -> String {
    page::cursor(&position.0.to_be_bytes())
}

/// An answer with the position that it reflects.
pub(super) fn answer(position: Position, body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(position.0));
    response
}
