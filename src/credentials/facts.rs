//! The stored form of facts: what happened, and how it came about.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::AnyEvent;

/// How an event came about. Absent parts were not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Meta {
    /// Address of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The caller's `User-Agent`, cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The authorisation rule that let it through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The reason that the caller stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request, to find its log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Opened facts of any kind.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// How.
    pub meta: Meta,
    /// What.
    pub event: AnyEvent,
}

/// Facts that cannot be written or read. The content is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Of a kind that this version does not know.
    #[error("the record is of a kind that this version does not know")]
    UnknownKind,
    /// Not in any shape that was ever stored.
    #[error("the record's facts have a shape that this version does not know")]
    Shape,
}

#[derive(Serialize)]
struct Out<'a, E> {
    meta: &'a Meta,
    event: &'a E,
}

#[derive(Deserialize)]
struct In<E> {
    meta: Meta,
    event: E,
}

pub(super) fn encode<E: Serialize>(meta: &Meta, event: &E) -> Result<Vec<u8>, FactsError> {
    serde_json::to_vec(&Out { meta, event }).map_err(|_| FactsError::Shape)
}

pub(super) fn decode<E: DeserializeOwned>(json: &[u8]) -> Result<(Meta, E), FactsError> {
    serde_json::from_slice::<In<E>>(json).map(|stored| (stored.meta, stored.event)).map_err(|_| FactsError::Shape)
}
