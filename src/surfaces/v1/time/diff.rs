//! What differs between two moments.

use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Change, When, moment, shown, tenant};
use crate::credentials::recovery::Selection;
use crate::kernel::{Permission, StreamId};
use crate::surfaces::v1::caller::{Caller, answer};
use crate::surfaces::v1::events::Event;
use crate::vault::Changed;
use crate::web::page;
use crate::web::problem::{Errors, Problem};

/// A thing that differs.
#[derive(Serialize, ToSchema)]
struct ChangedThing {
    /// The thing.
    id: String,
    /// Its kind.
    #[schema(example = "connection")]
    kind: String,
    /// `created`, `deleted`, `restored` (it was deleted, and is there again), `changed`, or `shredded`: something became of it in between, and
    /// nothing is left to compare.
    #[schema(example = "changed")]
    how: &'static str,
    /// Field by field.
    changes: Vec<Change>,
    /// Its latest event in between: who did it, when, from where, under which rule. `GET /v1/events?stream=` tells of all.
    last_event: Event,
}

/// What differs between two moments.
#[derive(Serialize, ToSchema)]
pub(in crate::surfaces::v1) struct Differences {
    /// The earlier position.
    from: u64,
    /// The later position.
    to: u64,
    /// The things that differ, by id.
    data: Vec<ChangedThing>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

/// Which moments, and which things.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(in crate::surfaces::v1) struct Wanted {
    /// The earlier position or instant.
    from: String,
    /// The later position or instant; now when absent.
    to: Option<String>,
    /// Only things of this kind, such as `connection` or `user`.
    kind: Option<String>,
    /// Things of this tenant, by name; `*` for all. Others than one's own need `vault:operate`.
    tenant: Option<String>,
    /// A consumer and its connections only, as `application/consumer`.
    consumer: Option<String>,
    /// Only this thing.
    id: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// Compare two moments
///
/// What differs, thing by thing and field by field; secrets by version and fingerprint. Needs `history:read`.
#[utoipa::path(get, path = "/v1/diff", operation_id = "diff", tag = "Time", params(Wanted, crate::surfaces::v1::log::AsOfParams), responses((status = 200, body = Differences), Errors))]
pub(in crate::surfaces::v1) async fn diff(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["from", "to", "kind", "tenant", "consumer", "id", "limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let from = params.get("from").ok_or_else(|| Problem::invalid("from: is needed"))?;
    let from = moment(&caller, "from", &When::Text(from.to_owned())).await?;
    let to = match params.get("to") {
        Some(text) => moment(&caller, "to", &When::Text(text.to_owned())).await?.min(position),
        None => position,
    };
    if from > to {
        return Err(Problem::invalid("from: comes after to"));
    }
    let views = caller.vault.views();
    let selection = Selection {
        tenant: tenant(&caller, &views, params.get("tenant"))?,
        kind: params.get("kind").map(str::to_owned),
        consumer: params.get("consumer").map(consumer).transpose()?,
        thing: params.get("id").map(|text| text.parse().map_err(|_| Problem::invalid("id: takes an id of 32 lower-case hex digits"))).transpose()?,
    };
    let after = params.get("cursor").map(read_cursor).transpose()?;
    let found = caller.vault.diff(&caller.principal, (from, to), &selection, (after, params.limit()?)).await?;
    let found = found.map_err(|_| Problem::busy())?;
    let thing = |changed: Changed| ChangedThing {
        id: changed.stream.to_string(),
        kind: changed.kind.name().to_owned(),
        how: changed.how,
        changes: shown(changed.kind.name(), &changed.changes),
        last_event: Event::from(changed.last),
    };
    let differences = Differences {
        from: found.from.0,
        to: found.to.0,
        data: found.things.into_iter().map(thing).collect(),
        next_cursor: found.next.map(|id| page::cursor(&id.0)),
        position: found.to.0,
    };
    Ok(answer(found.to, &differences))
}

/// `application/consumer`.
pub(super) fn consumer(text: &str) -> Result<(String, String), Problem> {
    let parts = text.split_once('/').filter(|(app, id)| !app.is_empty() && !id.is_empty());
    parts.map(|(app, id)| (app.to_owned(), id.to_owned())).ok_or_else(|| Problem::invalid("consumer: takes application/consumer"))
}

fn read_cursor(text: &str) -> Result<StreamId, Problem> {
    Ok(StreamId(page::read_cursor(text)?.try_into().map_err(|_| page::PageError::Cursor)?))
}
