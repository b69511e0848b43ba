//! The audit log: what happened, read from the log itself.

mod csv;
mod export;
mod follow;
mod seats;
mod stream;
mod wanted;

pub(super) use export::{__path_export, export};
pub(super) use seats::Seats;
pub(super) use stream::{__path_stream, stream};

use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, answer, cursor};
use super::time::{Change, shown};
use crate::credentials::Meta;
use crate::kernel::Permission;
use crate::kernel::{Class, Position};
use crate::vault::{Decision, Shown};
use crate::web::problem::{Errors, Problem};

/// An event. Its place in the log proves it: `leaf` is the RFC 6962 leaf hash over the stored, sealed record.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "`type` is a word of the language")]
pub(super) struct Event {
    /// Place in the log.
    position: u64,
    /// When the log took it.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// Number of the history that it belongs to; one more with each restore.
    epoch: u32,
    /// Sort of thing.
    #[schema(example = "connection")]
    kind: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "imported")]
    event_type: String,
    /// `change` moves the content version; `observation` does not.
    #[schema(example = "change")]
    class: &'static str,
    /// The thing.
    stream: String,
    /// Of its thing.
    version: u64,
    /// Of its thing's latest change.
    content_version: u64,
    /// The principal that did it; all zero for the vault itself.
    actor: String,
    /// `allowed`, or `denied` of what was refused.
    #[schema(example = "allowed")]
    decision: &'static str,
    /// The append it came with.
    group: Group,
    /// Position of what caused it; 0 for nothing.
    causation: u64,
    /// How it came about.
    meta: Meta,
    /// What it says, by its type; null when its key was destroyed.
    facts: Option<Value>,
    /// Whether its key was destroyed: only what stands in clear is left.
    shredded: bool,
    /// The secrets that it brought, without their values.
    secrets: Vec<Secret>,
    /// How many keys died with it.
    shredded_keys: usize,
    /// What was committed to: SHA-256 over salt and facts, in hex.
    facts_commitment: String,
    /// RFC 6962 leaf hash of the stored record, in hex.
    leaf: String,
    /// In a history: what it changed of its thing, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
}

/// Events appended as one.
#[derive(Serialize, ToSchema)]
struct Group {
    /// Shared by all of them.
    id: String,
    /// The event's place, from 0.
    index: u32,
    /// How many there are.
    count: u32,
}

/// A secret of an event.
#[derive(Serialize, ToSchema)]
struct Secret {
    /// The name of its box.
    #[schema(example = "access_token")]
    name: String,
    /// Keyed hash of the value: equal values of one tenant have equal ones.
    fingerprint: String,
    /// Whether its key was destroyed.
    shredded: bool,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    /// In the order that was asked for.
    data: Vec<Event>,
    /// Give it as `cursor` for the next page; absent at the end. A page may be short, or empty, and still have one: a filter looks at 20,000
    /// events at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

impl From<Shown> for Event {
    fn from(shown: Shown) -> Self {
        let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
        let (leaf, header) = (hex(&shown.record.leaf()), shown.record.header());
        let secrets = header.secrets.iter().zip(shown.gone);
        Self {
            position: header.position.0,
            recorded_at: header.recorded_at.to_string(),
            epoch: header.epoch.number,
            kind: header.kind.clone(),
            event_type: header.event_type.clone(),
            class: match header.class {
                Class::Change => "change",
                Class::Observation => "observation",
            },
            stream: header.stream.to_string(),
            version: header.version.0,
            content_version: header.content_version.0,
            actor: header.actor.to_string(),
            decision: Decision::of(header).name(),
            group: Group { id: header.group.id.to_string(), index: header.group.index, count: header.group.count },
            causation: header.causation.0,
            meta: shown.meta,
            shredded: shown.shredded,
            facts: Some(shown.facts).filter(|facts| !facts.is_null()),
            secrets: secrets.map(|(secret, shredded)| Secret { name: secret.name.clone(), fingerprint: secret.fingerprint.to_string(), shredded }).collect(),
            shredded_keys: header.shredded.len(),
            facts_commitment: hex(&header.facts_commitment),
            leaf,
            changes: None,
        }
    }
}

/// Which page of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Which {
    /// `desc` (newest first, the default) or `asc`.
    order: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// List events
///
/// Those of the caller's tenant, what became of that tenant itself, and of the system's what concerns everybody: shipped connectors, restores.
/// Whoever runs the vault sees also what became of other tenants and their keys, and what was tried under names that are nobody's. A position past
/// the end of the log, or an instant in the future, is refused. Needs `audit:read`.
#[utoipa::path(get, path = "/v1/events", operation_id = "events_list", tag = "Audit", params(wanted::Wanted, Which, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = wanted::params(&caller, &["order", "limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let mut filter = wanted::filter(&caller, &params, position).await?;
    filter.oldest_first = match params.get("order") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(Problem::invalid("order: is asc or desc")),
    };
    match params.cursor()? {
        Some(at) if filter.oldest_first => filter.from = filter.from.max(at),
        Some(at) => filter.to = filter.to.min(at),
        None => {}
    }
    Ok(page(caller.vault.events(&caller.principal, &filter, params.limit()?).await?, position))
}

/// Get an event
///
/// Needs `audit:read`.
#[utoipa::path(get, path = "/v1/events/{position}", operation_id = "events_get", tag = "Audit", params(("position" = u64, Path, description = "Place in the log"), super::log::AsOfParams), responses((status = 200, body = Event), Errors))]
pub(super) async fn get(caller: Caller, Named(at): Named<u64>) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let position = caller.position(&caller.params(&[])?).await?;
    if Position(at) > position {
        return Err(crate::kernel::Refusal::NotFound.into());
    }
    let shown = caller.vault.event(&caller.principal, Position(at)).await?;
    Ok(answer(position, &Event::from(shown)))
}

/// A page of a thing's history: each event with what it changed.
pub(super) fn story(found: crate::vault::Story, position: Position) -> Response {
    let told = |told: crate::vault::Told| {
        let changes = shown(&told.shown.record.header().kind, &told.changes);
        Event { changes: Some(changes), ..Event::from(told.shown) }
    };
    let events = Events { data: found.events.into_iter().map(told).collect(), next_cursor: found.next.map(cursor), position: position.0 };
    answer(position, &events)
}

/// A page of events, with the position that it reflects.
pub(super) fn page(found: crate::vault::Page, position: Position) -> Response {
    let events = Events { data: found.events.into_iter().map(Event::from).collect(), next_cursor: found.next.map(cursor), position: position.0 };
    answer(position, &events)
}
