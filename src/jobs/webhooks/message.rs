//! What a webhook is told: the vendor's event of a connection. It holds no secret, no setting and no token.

use serde::Serialize;
use serde_json::Value;

use crate::credentials::AnyState;
use crate::credentials::connection::{Connection, Notice, State};
use crate::kernel::{EventId, Json, Moment, Position, StreamId};
use crate::seal::derive;
use crate::vault::Around;

/// What is told when a webhook is tried out.
const PING: &str = "ping";

/// A message: its id, the same whenever it is sent, and its body.
pub(super) struct Message {
    pub id: String,
    pub body: Vec<u8>,
    /// Of the id: spreads attempts.
    pub chance: [u8; 16],
}

#[derive(Serialize)]
struct Body<'a> {
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    event_type: &'a str,
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unified_api: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a str>,
    execution_attempt: u32,
    entity_id: String,
    entity_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Entity<'a>>,
    occurred_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

/// A connection after the event; one that was removed, as it was before.
#[derive(Serialize)]
struct Entity<'a> {
    id: String,
    unified_api: &'a str,
    service_id: &'a str,
    consumer_id: &'a str,
    state: &'static str,
    enabled: bool,
    metadata: Value,
    created_at: Moment,
    updated_at: Moment,
}

/// What a notice of an event says; `None` when there is no connection to tell of.
pub(super) fn message(webhook: StreamId, around: &Around, notice: Notice, attempt: u32) -> Option<Message> {
    let live = |state| if let &AnyState::Connection(State::Live(ref live)) = state { Some(&**live) } else { None };
    let connection: &Connection = live(&around.after).or_else(|| live(&around.before))?;
    let (key, header) = (&*connection.key, &around.header);
    let id = format!("{}+{}", key.unified_api, key.service_id);
    let entity = Entity {
        id: id.clone(),
        unified_api: &key.unified_api,
        service_id: &key.service_id,
        consumer_id: &key.consumer,
        state: connection.phase.name(),
        enabled: connection.enabled,
        metadata: connection.metadata.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Json::value),
        created_at: connection.created_at,
        updated_at: connection.updated_at,
    };
    whole(webhook, header.event, |event_id| Payload {
        event_type: notice.name(),
        event_id,
        unified_api: Some(&key.unified_api),
        service_id: Some(&key.service_id),
        consumer_id: Some(&key.consumer),
        application_id: Some(&key.app),
        execution_attempt: attempt,
        entity_id: id,
        entity_type: "Connection",
        entity: Some(entity),
        occurred_at: header.recorded_at,
        position: Some(header.position),
    })
}

/// What is told when a webhook is tried out.
pub(super) fn ping(webhook: StreamId, event: EventId, now: Moment) -> Option<Message> {
    whole(webhook, event, |event_id| Payload {
        event_type: PING,
        event_id,
        unified_api: None,
        service_id: None,
        consumer_id: None,
        application_id: None,
        execution_attempt: 1,
        entity_id: webhook.to_string(),
        entity_type: "Webhook",
        entity: None,
        occurred_at: now,
        position: None,
    })
}

fn whole<'a>(webhook: StreamId, event: EventId, payload: impl FnOnce(String) -> Payload<'a>) -> Option<Message> {
    let mut payload = payload(String::new());
    // Every webhook of a tenant names an event's notice by the same id; a message is known by one of its own.
    payload.event_id = StreamId(derive::message(StreamId::default(), event, payload.event_type)).uuid();
    let id = derive::message(webhook, event, payload.event_type);
    let body = serde_json::to_vec(&Body { payload }).ok()?;
    Some(Message { id: format!("msg_{}", StreamId(id)), body, chance: id })
}
